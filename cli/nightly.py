"""What a nightly job runs: retrain; and its first and last steps alone: compact, publish."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import pandas as pd
import typer
from filelock import FileLock, Timeout

from cli.comparing import compare_versions, keep_verdicts
from cli.publishing import compact_received, publish_champions
from cli.shop import JsonOption, Shop, finish, open_shop, read_moment, say, working
from cli.training import train_model
from regulars.errors import DataError, LakeError, MissingData, ModelMissing, RegularsError
from serving.services.compaction import Compacted
from training.scoring import cancellation_for, load_churn, score_customers, value_for
from training.tracking import MODELS, Tracking, Version

TRIED_FIRST = ("churn", "recommender")  # offers need assignments later than the horizon that a trial leaves
STATE = "retrain.json"
SAME_SETTINGS = "the champion's settings on newer data"


@dataclass(frozen=True)
class Step:
    """What became of a step: done, skipped or failed, and why."""

    name: str
    became: str
    why: str


def register(app: typer.Typer) -> None:
    """Add this group's commands to ``app``."""
    app.command("compact")(compact)
    app.command("publish")(publish)
    app.command("retrain")(retrain)


def compact(as_json: JsonOption = False) -> None:
    """Move what the service received, decided and showed into the lake, each exactly once."""
    with working("compacting"):
        moved = compact_received(open_shop())
    say(f"{_moved(moved)} are in the lake now", as_json=as_json)
    told = {"events": moved.events, "changes": moved.changes, "decisions": moved.decisions, "shown": moved.shown}
    finish(told, as_json=as_json)


def publish(as_json: JsonOption = False) -> None:
    """Hand one generation to the service, all or nothing: scores, profiles, products, offers, consents, histories."""
    shop = open_shop()
    with working("publishing"):
        published = publish_champions(shop, now=datetime.now(UTC))
    say(
        f"generation {published.generation} answers from now on: {published.customers:,} customers, "
        f"{published.products:,} products, {published.offers} offers, as of {published.as_of.isoformat()}",
        as_json=as_json,
    )
    finish(published.as_dict(), as_json=as_json)


def retrain(
    as_of: Annotated[str | None, typer.Option("--as-of", help="Default: the midnight after the newest row.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Everything a nightly job needs, in order, each step skipped where nothing changed: compact, train, compare, promote, score,
    publish.

    The champion's settings on newer data take over unless a trial of them, on the newest span that neither saw, is shown to
    be worse. A step that fails leaves the service as it was; run again, it goes on from there.
    """
    shop = open_shop()
    shop.settings.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(shop.settings.home / "retrain.lock", timeout=0):
            received = _receive(shop, as_json=as_json)
            at = read_moment(as_of, shop.settings) if as_of else newest_moment(shop)
            steps = [received, *([] if received.became == "failed" else _run(shop, at, as_json=as_json))]
    except Timeout as error:
        raise LakeError("another `regulars retrain` is at work; it holds retrain.lock in the home folder") from error
    failed = [step.name for step in steps if step.became == "failed"]
    finish({"as_of": at.isoformat(), "steps": [asdict(step) for step in steps]}, as_json=as_json)
    if failed:
        raise DataError(f"{', '.join(failed)} failed, the service answers as before; mend it and run again")


def _receive(shop: Shop, *, as_json: bool) -> Step:
    """Move what the service received into the lake."""
    try:
        moved = compact_received(shop)
    except RegularsError as error:
        step = Step("compact", "failed", str(error))
    else:
        fresh = moved.events + moved.changes + moved.decisions + moved.shown
        why = f"{_moved(moved)} moved into the lake" if fresh else "nothing new came"
        step = Step("compact", "done" if fresh else "skipped", why)
    say(f"compact: {step.became}, {step.why}", as_json=as_json)
    return step


def _moved(moved: Compacted) -> str:
    return (
        f"{moved.events:,} events, {moved.changes:,} changed rows, {moved.decisions:,} decisions and what followed them, "
        f"{moved.shown:,} recommendations shown"
    )


def newest_moment(shop: Shop) -> datetime:
    """The midnight (UTC) after the newest order or event, or now where that is earlier.

    Raises:
        MissingData: where nothing was imported.
    """
    tables = shop.tables()
    columns = {"orders": "ordered_at", "events": "occurred_at"}
    newest = [tables[name][column].max().execute() for name, column in columns.items() if name in tables]
    if not newest:
        raise MissingData("neither orders nor events were imported; run: regulars import orders FILE")
    midnight = pd.Timestamp(max(newest)).normalize().to_pydatetime() + timedelta(days=1)
    return min(midnight.replace(tzinfo=UTC), datetime.now(UTC))


def _run(shop: Shop, at: datetime, *, as_json: bool) -> list[Step]:
    tracking = Tracking(shop.settings)
    data = shop.lake.manifest().content_hash()
    steps: list[Step] = []

    def take(name: str, inputs: list[str], do: Callable[[], str]) -> None:
        steps.append(_step(shop, name, _hash(inputs), do))
        say(f"{name}: {steps[-1].became}, {steps[-1].why}", as_json=as_json)

    for model in MODELS:
        take(f"train {model}", [data, at.isoformat(), model], lambda model=model: _train(shop, tracking, model, at))
    if any(step.became == "failed" for step in steps):
        return steps
    champions = [data, at.isoformat(), *(str(_number(tracking, model)) for model in MODELS)]
    take("score", champions, lambda: _score(shop, tracking, at))
    if steps[-1].became != "failed":
        take("publish", champions, lambda: _publish(shop))
    return steps


def _step(shop: Shop, name: str, inputs: str, do: Callable[[], str]) -> Step:
    """Do a step unless it was done with the same inputs; what was done is kept at once, so that a kill costs one step."""
    if _done(shop).get(name) == inputs:
        return Step(name, "skipped", "nothing changed since it was last done")
    try:
        with working(name):
            why = do()
    except (MissingData, ModelMissing) as error:
        return Step(name, "skipped", str(error))
    except RegularsError as error:
        return Step(name, "failed", str(error))
    _keep(shop, _done(shop) | {name: inputs})
    return Step(name, "done", why)


def _train(shop: Shop, tracking: Tracking, model: str, at: datetime) -> str:
    champion = tracking.champion(model)
    if champion is None:
        return f"version {_fitted(shop, model, at, None).number} is the first, and champion"
    if champion.as_of >= at:
        return f"version {champion.number}, the champion, already knows all"
    behind = _trial(shop, tracking, champion, at) if model in TRIED_FIRST else None
    if behind is not None:
        return f"version {champion.number} stays champion: {behind}"
    version = _fitted(shop, model, at, champion)
    tracking.promote(model, version.number, by="retrain", forced_because=SAME_SETTINGS)
    return f"version {version.number} takes over from version {champion.number}: {SAME_SETTINGS}"


def _trial(shop: Shop, tracking: Tracking, champion: Version, at: datetime) -> str | None:
    """Why newer data should not take over, judged on the newest horizon; None where nothing speaks against it.

    A champion that saw the newest horizon cannot be judged there: it is younger than that, and gives way.
    """
    start = at - timedelta(days=int(champion.settings["horizon_days"]))
    if champion.as_of > start:
        return None
    trial = _fitted(shop, champion.name, start, champion)
    span = f"{start.isoformat()}..{at.isoformat()}"
    compared = compare_versions(shop, tracking, champion.name, [trial, champion], holdout=span)
    keep_verdicts(tracking, [trial, champion], compared)
    verdict = compared.verdict(str(trial.number))
    if verdict["gain_high"] < 0:
        return (
            f"on {start:%Y-%m-%d}..{at:%Y-%m-%d} its settings on newer data (version {trial.number}) are worse: "
            f"{verdict['metric']} {verdict['gain']:+.4f} ({verdict['gain_low']:+.4f} to {verdict['gain_high']:+.4f})"
        )
    return None


def _fitted(shop: Shop, model: str, at: datetime, champion: Version | None) -> Version:
    """A new version as of ``at``, with the champion's settings where there is one."""
    settings = dict(champion.settings) if champion else {}
    version, _ = train_model(shop, model, as_of=at, given=settings, params=settings.get("params"), run_name="retrain")
    return version


def _score(shop: Shop, tracking: Tracking, at: datetime) -> str:
    champion = tracking.champion("churn")
    if champion is None:
        raise ModelMissing("no churn model has been trained")
    model, worth = load_churn(tracking, champion), value_for(tracking, as_of=at)
    ending = cancellation_for(tracking, as_of=at)
    scores = score_customers(shop.tables(), model, as_of=at, settings=shop.settings, value=worth, cancellation=ending)
    shop.lake.keep_scores(scores, model="churn", version=champion.number, as_of=at)
    return f"{len(scores):,} customers"


def _publish(shop: Shop) -> str:
    published = publish_champions(shop, now=datetime.now(UTC))
    return f"generation {published.generation} answers from now on"


def _number(tracking: Tracking, model: str) -> int | None:
    champion = tracking.champion(model)
    return champion.number if champion else None


def _hash(inputs: list[str]) -> str:
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()


def _done(shop: Shop) -> dict[str, str]:
    try:
        return dict(json.loads((shop.settings.home / STATE).read_text()))
    except (OSError, ValueError):
        return {}


def _keep(shop: Shop, done: dict[str, str]) -> None:
    written = shop.settings.home / f"{STATE}.new"
    with written.open("w") as file:
        json.dump(done, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    written.replace(shop.settings.home / STATE)
