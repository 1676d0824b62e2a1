// The dashboard: asks the service with the key that was typed in, which is kept until the tab closes and nowhere else.
"use strict";

const KEY = "regulars-key";
const SHOWN = 20;
const el = (id) => document.getElementById(id);
const body = (id) => el(id).querySelector(".body");
const percent = (share) => (share == null ? "" : `${Math.round(share * 100)} %`);
const number = (value, digits = 0) =>
  value == null ? "" : value.toLocaleString(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** A node with text or children; text is never read as HTML. */
function node(name, attributes = {}, ...children) {
  const made = name === "svg" || svgNames.has(name)
    ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.map((child) => (child instanceof Node ? child : String(child ?? ""))));
  return made;
}
const svgNames = new Set(["path", "line", "circle", "text", "title"]);

/** The answer, or an error that says what the service said. */
async function ask(path, accept = "application/json") {
  const answer = await fetch(path, { headers: { Authorization: `Bearer ${sessionStorage.getItem(KEY)}`, Accept: accept } });
  if (answer.ok) return accept === "application/json" ? answer.json() : answer.blob();
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? `the service answered ${answer.status}`);
}

/** Fill a panel with what `make` gives; where that fails, with why. */
async function fill(id, make) {
  const place = body(id);
  place.setAttribute("aria-busy", "true");
  try {
    place.replaceChildren(...[await make()].flat());
  } catch (error) {
    place.replaceChildren(node("p", { class: "wrong" }, error.message));
  }
  place.removeAttribute("aria-busy");
}

/** Columns: [title, value of a row, whether it is a number]. */
function table(rows, columns, caption) {
  if (!rows.length) return node("p", { class: "quiet" }, "Nothing yet.");
  const cell = (name, [, , numeric], text) => node(name, numeric ? { class: "number" } : {}, text);
  const made = node("table", {},
    node("thead", {}, node("tr", {}, ...columns.map((column) => cell("th", column, column[0])))),
    node("tbody", {}, ...rows.map((row) => node("tr", {}, ...columns.map((column) => cell("td", column, column[1](row)))))));
  if (caption) made.prepend(node("caption", {}, caption));
  return made;
}

function chart(points, label) {
  const [width, height, left, bottom] = [600, 180, 34, 20];
  const x = (place) => left + (place * (width - left - 30)) / Math.max(points.length - 1, 1);
  const y = (value) => 8 + (1 - value / 100) * (height - bottom - 8);
  const known = points.map(([, value], place) => [place, value]).filter(([, value]) => value != null);
  const made = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const value of [0, 50, 100]) {
    made.append(node("line", { x1: left, x2: width, y1: y(value), y2: y(value) }));
    made.append(node("text", { x: 0, y: y(value) + 4 }, `${value} %`));
  }
  made.append(node("path", { d: known.map(([place, value], at) => `${at ? "L" : "M"}${x(place)} ${y(value)}`).join("") }));
  for (const [place, value] of known) {
    made.append(node("circle", { cx: x(place), cy: y(value), r: 3 }, node("title", {}, `${points[place][0]}: ${value.toFixed(1)} %`)));
  }
  const every = Math.ceil(points.length / 8);
  points.forEach(([name], place) => {
    if (place % every === 0) made.append(node("text", { x: x(place) - 14, y: height - 4 }, name));
  });
  return made;
}

async function retention() {
  const { items, active_days: days } = await ask("v1/retention?by=month");
  const points = items.map((item) => [item.group, item.retention_rate]);
  const last = items.at(-1);
  const told = last ? `${last.group}: ${number(last.customers)} customers ordered ${number(last.orders)} times, ` +
    `${number(last.average_order_value, 2)} an order.` : "";
  return [chart(points, "Share of customers kept, by month"),
    node("p", { class: "quiet" }, `Kept: ordered again within ${days} days. ${told}`)];
}

async function placements() {
  const { items, currency, attribution_days: days } = await ask("v1/reports/placements");
  return table(items, [
    ["placement", (row) => row.placement], ["views", (row) => number(row.views), true],
    ["clicks", (row) => number(row.clicks), true], ["orders", (row) => number(row.orders), true],
    [`revenue (${currency})`, (row) => number(row.revenue, 2), true],
  ], `Attributed within ${days} days`);
}

const atRisk = () => `v1/lists/at-risk?${new URLSearchParams(el("channel").value ? { channel: el("channel").value } : {})}`;

async function risk() {
  const { items, total, as_of: asOf } = await ask(`${atRisk()}&limit=${SHOWN}`);
  return table(items, [
    ["customer", (row) => row.name ?? row.customer_id], ["leaves with", (row) => percent(row.probability), true],
    ["95 %", (row) => row.interval.map(percent).join(" to "), true], ["value at risk", (row) => number(row.value_at_risk, 2), true],
    ["segment", (row) => row.segment], ["because", (row) => row.reasons.map((reason) => reason.text).join(". ")],
  ], `${number(Math.min(SHOWN, total))} of ${number(total)}, as of ${asOf.slice(0, 10)}`);
}

async function customer() {
  const who = encodeURIComponent(el("who").value);
  const profile = await ask(`v1/customers/${who}`);
  const liked = await ask(`v1/recommendations?customer_id=${who}&limit=8&fields=name,price`);
  const plain = Object.entries(profile).filter(([, value]) => value != null && typeof value !== "object");
  return [
    table(plain, [["field", ([name]) => name.replaceAll("_", " ")], ["value", ([, value]) => typeof value === "number" ? number(value, Number.isInteger(value) ? 0 : 2) : value]]),
    node("h2", {}, "Would like next"),
    table(liked.items, [
      ["product", (row) => row.name ?? row.product_id], ["price", (row) => number(row.price, 2), true],
      ["within the horizon", (row) => percent(row.score), true], ["because", (row) => row.reason.text],
    ]),
  ];
}

async function models() {
  const { items } = await ask("v1/models");
  const rows = Object.entries(items).flatMap(([name, versions]) => versions.map((version) => ({ name, ...version })));
  return table(rows, [
    ["model", (row) => row.name], ["version", (row) => row.version, true], ["", (row) => (row.aliases ?? []).join(", ")],
    ["as of", (row) => String(row.as_of ?? "").slice(0, 10)],
  ]);
}

async function state() {
  const answer = await fetch("health/ready");
  const told = await answer.json();
  el("state").className = answer.ok ? "" : "wrong";
  el("state").textContent = answer.ok
    ? `Ready: generation ${told.generation}, ` + Object.entries(told.versions).map(([name, version]) => `${name} ${version ?? "none"}`).join(", ")
    : `Not ready: ${told.detail}`;
}

function show() {
  const known = sessionStorage.getItem(KEY) != null;
  el("panels").hidden = el("leave").hidden = !known;
  if (known) for (const [id, make] of Object.entries({ retention, placements, risk, models })) fill(id, make);
}

el("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, el("key").value.trim());
  el("key").value = "";
  show();
});
el("leave").addEventListener("click", () => { sessionStorage.removeItem(KEY); show(); });
el("channel").addEventListener("change", () => fill("risk", risk));
el("find").addEventListener("submit", (event) => { event.preventDefault(); fill("customer", customer); });
el("download").addEventListener("click", async () => {
  const link = node("a", { href: URL.createObjectURL(await ask(atRisk(), "text/csv")), download: "at-risk.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
});
const given = new URLSearchParams(location.hash.slice(1)).get("key"); // from a link; a fragment is sent to nobody
if (given) {
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname);
}
state().catch(() => { el("state").textContent = "The service does not answer."; });
show();
