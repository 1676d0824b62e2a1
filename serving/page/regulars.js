/* Regulars in a shop's page: events, recommendations, slots. Without consent nothing is kept on the visitor's device. */
(() => {
  "use strict";
  const script = document.currentScript, source = new URL(script.src);
  const host = source.origin + source.pathname.replace(/\/regulars\.js$/, ""), key = source.searchParams.get("key");
  const ID = "regulars_id", BATCH = 20, WAIT = 1000, LONGEST_WAIT = 60000, MOST = 500, SLOTS = 10, KEPT = 34560000;
  const fields = ["name", "price", "url", "image_url"];
  const unique = () => (crypto.randomUUID ? crypto.randomUUID()
    : Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join(""));

  let consented = script.dataset.consent === "granted";
  let personal = script.dataset.personalise !== "no" && !navigator.globalPrivacyControl && navigator.doNotTrack !== "1";
  let customer = script.dataset.customer || null, token = script.dataset.token || null, visitor = unique();
  let queue = [], timer = 0, failures = 0, sending = false;

  const cookie = (value, seconds) => {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `${ID}=${value}; Max-Age=${seconds}; Path=/; SameSite=Lax${secure}`;
  };
  const remember = () => {
    const known = document.cookie.match(new RegExp(`(?:^|; )${ID}=([\\w-]+)`));
    if (known) visitor = known[1];
    cookie(visitor, KEPT);
  };

  /* Events */
  const later = (wait) => { clearTimeout(timer); timer = setTimeout(flush, wait); };
  const body = (events) => JSON.stringify({ writeKey: key, batch: events });
  const post = (events) => fetch(`${host}/v1/batch`, {
    method: "POST", body: body(events), keepalive: true,
    headers: { "Content-Type": "text/plain", ...(token && { "X-Customer-Token": token }) },
  });
  const flush = async () => {
    if (sending || !queue.length) return;
    const events = queue.splice(0, BATCH);
    sending = true;
    let wait = 0;
    try {
      const answer = await post(events);
      if (answer.status === 429 || answer.status >= 500) throw answer;
      failures = 0;
    } catch (failed) {
      const asked = failed.headers ? Number(failed.headers.get("Retry-After")) * 1000 : 0;
      wait = Math.max(asked || 0, Math.min(WAIT * 2 ** failures++, LONGEST_WAIT));
      queue = [...events, ...queue].slice(-MOST);
    }
    sending = false;
    if (queue.length) later(wait);
  };
  const leave = () => {
    while (queue.length) {
      const events = queue.splice(0, BATCH);
      if (token) post(events).catch(() => {});
      else if (!navigator.sendBeacon(`${host}/v1/batch`, body(events))) { queue = [...events, ...queue]; return; }
    }
  };
  const send = (type, told) => {
    if (!personal) return;
    const event = { type, messageId: unique(), timestamp: new Date().toISOString(), anonymousId: visitor, ...told };
    if (customer && token) event.userId = customer;
    event.context = { page: { path: location.pathname, title: document.title, referrer: document.referrer } };
    queue.push(event);
    if (queue.length > MOST) queue.shift();
    if (!failures) later(queue.length >= BATCH ? 0 : WAIT);
  };
  const track = (event, properties = {}) => send("track", { event, properties });

  /* Recommendations */
  const who = () => {
    if (!personal) return { session_id: unique() }; // of nobody: it is used once
    return customer && token ? { customer_id: customer } : { anonymous_id: visitor };
  };
  const recommend = async (asked) => {
    const answer = await fetch(`${host}/v1/recommendations`, {
      method: "POST", body: JSON.stringify({ fields, ...who(), ...asked }),
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}`,
        ...(personal && token && { "X-Customer-Token": token }) },
    });
    if (!answer.ok) throw new Error(`regulars: ${answer.status}`);
    return answer.json();
  };

  /* Slots: <div data-regulars="home" data-regulars-limit="4"><template>...</template></div> */
  const link = (value) => {
    try { return /^https?:$/.test(new URL(value, location.href).protocol) ? value : null; } catch { return null; }
  };
  const ask = (slot) => {
    const { regulars: placement, regularsLimit, regularsProduct, regularsCategory, regularsRepeat } = slot.dataset;
    return { placement, ...(regularsLimit && { limit: Number(regularsLimit) }),
      ...(regularsProduct && { product_id: regularsProduct.split(",") }),
      ...(regularsCategory && { category: regularsCategory }), ...(regularsRepeat && { repeat: regularsRepeat }) };
  };
  const plain = (item) => {
    const made = document.createElement("a");
    made.className = "regulars-item";
    if (item.image_url) made.append(Object.assign(document.createElement("img"), { alt: "" }));
    for (const name of ["name", "price"]) {
      const text = document.createElement("span");
      text.dataset.regularsText = name;
      made.append(text);
    }
    made.dataset.regularsHref = "url";
    if (made.firstChild.alt === "") made.firstChild.dataset.regularsSrc = "image_url";
    return made;
  };
  const drawn = (slot, item, recommendation) => {
    const template = slot.querySelector("template");
    const made = template ? template.content.firstElementChild.cloneNode(true) : plain(item);
    for (const part of [made, ...made.querySelectorAll("*")]) {
      const { regularsText, regularsHref, regularsSrc } = part.dataset;
      if (regularsText) part.textContent = item[regularsText] ?? "";
      for (const [attribute, name] of [["href", regularsHref], ["src", regularsSrc]]) {
        const value = name && item[name] && link(item[name]);
        if (value) part.setAttribute(attribute, value);
      }
    }
    Object.assign(made.dataset, { regularsItem: item.product_id, regularsRank: item.rank, regularsId: recommendation });
    return made;
  };
  const fill = async (root = document) => {
    const slots = [...root.querySelectorAll("[data-regulars]")];
    for (let first = 0; first < slots.length; first += SLOTS) {
      const some = slots.slice(first, first + SLOTS);
      try {
        const answer = await recommend({ placements: some.map(ask) });
        some.forEach((slot, place) => {
          const items = answer.placements[place].items.map((item) => drawn(slot, item, answer.recommendation_id));
          const template = slot.querySelector("template");
          if (items.length) slot.replaceChildren(...(template ? [template] : []), ...items);
          slot.dataset.regularsState = items.length ? "filled" : "empty";
        });
      } catch (failed) { // what the shop put there stays
        for (const slot of some) slot.dataset.regularsState = "failed";
      }
    }
  };
  document.addEventListener("click", (event) => {
    const item = event.target.closest?.("[data-regulars-item]");
    if (!item) return;
    const { regularsItem, regularsRank, regularsId } = item.dataset;
    track("Product Clicked", { product_id: regularsItem, position: Number(regularsRank), recommendation_id: regularsId });
  }, true);
  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") leave(); });

  window.regulars = {
    track, recommend, fill, flush,
    page: (name, properties = {}) => send("page", { name, properties }),
    consent: (given) => {
      consented = given;
      if (given) remember();
      else { cookie("", 0); visitor = unique(); }
    },
    personalise: (wanted) => { personal = wanted; if (!wanted) queue = []; },
    identify: (customerId, customerToken, traits = {}) => {
      [customer, token] = [customerId, customerToken];
      if (token) send("identify", { traits });
    },
  };

  if (consented) remember();
  const start = () => {
    const viewed = document.querySelector("[data-regulars-viewed]");
    if (viewed) track("Product Viewed", { product_id: viewed.dataset.regularsViewed });
    return fill();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
