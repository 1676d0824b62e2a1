"""Commands that run the service and ask it, and need no training: settings, serve, list, keys, forget, export-customer."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer

from cli.importing import refused_folder
from cli.shop import JsonOption, finish, open_shop, say, working
from regulars.errors import MissingData
from serving.run import serve as run_service
from serving.services import keys as shop_keys
from serving.services import lists
from serving.services.forget import export_customer, forget_customer
from serving.store import open_store
from serving.store.generations import current_generation

RISKS = ("low", "medium", "high")
Channel = Literal["email", "sms", "push", "ads"]
Scope = Literal["storefront", "events", "lists", "models", "admin"]

keys = typer.Typer(help="Keys that programs ask the service with.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands to ``app``."""
    app.command("serve")(serve)
    app.command("settings")(settings)
    app.command("list")(list_customers)
    app.command("forget")(forget)
    app.command("export-customer")(export)
    app.add_typer(keys, name="keys")


def settings(as_json: JsonOption = False) -> None:
    """Print the settings in force, secrets masked."""
    in_force = open_shop().settings.masked()
    for name, value in in_force.items():
        say(f"{name}: {value}", as_json=as_json)
    finish(in_force, as_json=as_json)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; more than one needs PostgreSQL.")] = None,
) -> None:
    """Run the service until it is told to stop."""
    shop = open_shop()
    run_service(shop.settings, host=host, port=port, workers=workers or shop.settings.workers)


def list_customers(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(lists.LISTS)}.")],
    form: Annotated[Literal["csv", "ndjson", "parquet"], typer.Option("--format")] = "csv",
    out: Annotated[Path | None, typer.Option("--out", help="A file; default: standard output (csv, ndjson).")] = None,
    min_probability: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    max_probability: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    risk: Annotated[list[str] | None, typer.Option(help="Repeatable; default: medium and high.")] = None,
    country: Annotated[str | None, typer.Option()] = None,
    channel: Annotated[Channel | None, typer.Option(help="Only who consented to it and did not unsubscribe.")] = None,
    segment: Annotated[str | None, typer.Option(help="An RFM segment.")] = None,
    tier: Annotated[str | None, typer.Option(help="A loyalty tier of the settings.")] = None,
    order_by: Annotated[Literal["probability", "customer_id"], typer.Option()] = "probability",
) -> None:
    """Write a list of customers, as the service would give it."""
    if name not in lists.LISTS:
        raise typer.BadParameter(f"expected one of {', '.join(lists.LISTS)}, got {name!r}")
    if unknown := set(risk or ()) - set(RISKS):
        raise typer.BadParameter(f"--risk expects {', '.join(RISKS)}, got {', '.join(sorted(unknown))}")
    if form == "parquet" and out is None:
        raise typer.BadParameter("--format parquet needs --out")
    wanted = lists.Wanted(
        min_probability, max_probability, tuple(risk or ()), country, channel, segment, tier, order_by
    )
    store = open_store(open_shop().settings.database_url)
    try:
        generation = current_generation(store)
        if generation is None:
            raise MissingData("nothing is published yet; run: regulars publish")
        rows = [lists.flat(item) for item in lists.everybody(store, generation.generation, wanted)]
    finally:
        store.close()
    table = pd.DataFrame(rows, columns=list(lists.COLUMNS))
    if form == "parquet":
        table.to_parquet(out, index=False)
    elif form == "csv":
        table.to_csv(out or sys.stdout, index=False)
    else:
        table.to_json(out or sys.stdout, orient="records", lines=True)


def forget(customer_id: Annotated[str, typer.Argument(metavar="CUSTOMER")], as_json: JsonOption = False) -> None:
    """Remove a customer from lake, store and scores, and print the receipt."""
    shop = open_shop()
    store = open_store(shop.settings.database_url)
    try:
        with working(f"forgetting {customer_id}"):
            receipt = forget_customer(
                store, shop.lake, customer_id, refused_folder=refused_folder(shop), now=datetime.now(UTC)
            )
    finally:
        store.close()
    if not receipt["found"]:
        say(f"nothing was held of {customer_id}", as_json=as_json)
    for place, count in receipt["rows_removed"].items():
        say(f"{place}: {count:,} rows removed", as_json=as_json)
    say(f"Models: {receipt['models']}.", as_json=as_json)
    for place in receipt["remains_elsewhere"]:
        say(f"Not reached from here: {place}.", as_json=as_json)
    finish(receipt, as_json=as_json)


def export(
    customer_id: Annotated[str, typer.Argument(metavar="CUSTOMER")],
    out: Annotated[Path | None, typer.Option("--out", help="A .json file; default: standard output.")] = None,
) -> None:
    """Write everything that lake and store hold of a customer as JSON."""
    shop = open_shop()
    store = open_store(shop.settings.database_url)
    try:
        held = export_customer(store, shop.lake, customer_id, now=datetime.now(UTC))
    finally:
        store.close()
    if held is None:
        raise MissingData(f"nothing is held of {customer_id}")
    text = json.dumps(held, indent=1)
    if out is None:
        print(text)
    else:
        out.write_text(text)


@keys.command("create")
def create_key(
    scope: Annotated[Scope, typer.Option(help="What the key may do.")],
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    origin: Annotated[
        list[str] | None, typer.Option(help="Repeatable: the web origins a storefront key may be used from.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it: it is shown only now."""
    store = open_store(open_shop().settings.database_url)
    made = shop_keys.create_key(store, scope=scope, label=label, origins=origin or (), now=datetime.now(UTC))
    say(made.key, as_json=as_json)
    finish({"key": made.key, "key_id": made.key_id, "scope": scope}, as_json=as_json)


@keys.command("list")
def list_keys(as_json: JsonOption = False) -> None:
    """Show every key ever made, without the keys themselves."""
    rows = shop_keys.list_keys(open_store(open_shop().settings.database_url))
    for row in rows:
        state = f"revoked {row.revoked_at:%Y-%m-%d %H:%M}" if row.revoked_at else "valid"
        say(
            f"{row.key_id}  {row.scope}  {row.created_at:%Y-%m-%d %H:%M}  {state}  {row.label}",
            as_json=as_json,
        )
    if not rows:
        say("no key was made yet; run: regulars keys create --scope lists", as_json=as_json)
    finish({"keys": [row.__dict__ for row in rows]}, as_json=as_json)


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="As shown by `regulars keys list`.")],
    as_json: JsonOption = False,
) -> None:
    """Make a key invalid at once."""
    store = open_store(open_shop().settings.database_url)
    shop_keys.revoke_key(store, key_id=key_id, now=datetime.now(UTC))
    say(f"{key_id} is revoked", as_json=as_json)
    finish({"key_id": key_id, "revoked": True}, as_json=as_json)
