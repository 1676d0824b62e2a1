"""Frozen settings; the environment is read here and nowhere else."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from regulars.errors import SettingsError
from regulars.offering import Explore, Rules

PREFIX = "REGULARS_"
EXPLORE = ("epsilon", "thompson", "off")
ENGINES = ("duckdb", "spark")
SECRETS = ("token_secret",)

N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Settings:
    """What is in force for one run of the program.

    ``home`` holds the lake, the database and the MLflow store unless their own settings say otherwise.
    ``risk_medium`` and ``risk_high`` are churn probabilities (0-1) from which a customer counts as such. ``explore``,
    ``held_out`` (share of customers), quiet hours (0-23, in the customer's zone) and contacts per week are for decisions.
    ``loyal_orders``: orders within a year that make a customer loyal. ``tiers``: loyalty tiers by yearly spend, lowest first.
    ``attribution_days``: within which a click or an order goes back to what was shown before, without being told so.
    ``rankers``: processes of each worker that rank for it, 0 for threads of its own.
    ``time_budget_ms``: of a recommendation, in milliseconds; what would take longer is answered with less ranking.
    ``rate_...``: requests per second and worker, 0 for no limit; ``trusted_proxies``: addresses whose X-Forwarded-For holds.
    """

    home: Path
    lake: Path
    database_url: str
    tracking_uri: str
    engine: str = "duckdb"
    currency: str = "USD"
    timezone: str = "UTC"
    workers: int = 1
    rankers: int = 1
    token_secret: str | None = None
    risk_medium: float = 0.3
    risk_high: float = 0.6
    explore: Explore = "epsilon"
    held_out: float = 0.05
    quiet_from: int = 21
    quiet_until: int = 8
    contacts_per_week: int = 3
    loyal_orders: int = 4
    attribution_days: int = 7
    time_budget_ms: float = 50.0
    rate_per_key: float = 20_000.0
    rate_per_address: float = 20_000.0
    trusted_proxies: tuple[str, ...] = ()
    tiers: tuple[tuple[str, float], ...] = (("bronze", 0.0), ("silver", 250.0), ("gold", 1_000.0))

    def offer_rules(self) -> Rules:
        """What holds for every offer."""
        return Rules(
            quiet_from=self.quiet_from,
            quiet_until=self.quiet_until,
            contacts_per_week=self.contacts_per_week,
            held_out=self.held_out,
        )

    def masked(self) -> dict[str, str]:
        """All settings as text, secrets and the password of the database hidden."""
        shown = {name: "" if value is None else str(value) for name, value in asdict(self).items()}
        shown["tiers"] = ",".join(f"{name}:{floor:g}" for name, floor in self.tiers)
        shown["trusted_proxies"] = ",".join(self.trusted_proxies)
        for name in SECRETS:
            shown[name] = "****" if shown[name] else "(not set)"
        for name in ("database_url", "tracking_uri"):
            shown[name] = _without_password(shown[name])
        return shown


def read_settings(environment: Mapping[str, str] | None = None, *, start: Path | None = None) -> Settings:
    """The settings in force, from ``environment`` (default: this process's) and the folder ``start``.

    Raises:
        SettingsError: where a value cannot be used; the message names the variable.
    """
    env = dict(os.environ if environment is None else environment)
    home = _home(env, start or Path.cwd())
    return Settings(
        home=home,
        lake=_absolute(env.get(PREFIX + "LAKE", ""), home / "lake"),
        database_url=env.get(PREFIX + "DATABASE_URL") or f"sqlite:///{home / 'store.db'}",
        tracking_uri=env.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}",
        engine=_one_of(env, "ENGINE", ENGINES),
        currency=env.get(PREFIX + "CURRENCY") or "USD",
        timezone=_zone(env),
        workers=_number(env, "WORKERS", int, 1, 1, 256),
        rankers=_number(env, "RANKERS", int, 1, 0, 64),
        token_secret=env.get(PREFIX + "TOKEN_SECRET") or None,
        risk_medium=_number(env, "RISK_MEDIUM", float, 0.3, 0.0, 1.0),
        risk_high=_number(env, "RISK_HIGH", float, 0.6, 0.0, 1.0),
        explore=_explore(env),
        held_out=_number(env, "HELD_OUT", float, 0.05, 0.0, 0.5),
        quiet_from=_number(env, "QUIET_FROM", int, 21, 0, 23),
        quiet_until=_number(env, "QUIET_UNTIL", int, 8, 0, 23),
        contacts_per_week=_number(env, "CONTACTS_PER_WEEK", int, 3, 0, 1_000),
        loyal_orders=_number(env, "LOYAL_ORDERS", int, 4, 1, 1_000),
        attribution_days=_number(env, "ATTRIBUTION_DAYS", int, 7, 1, 15),
        time_budget_ms=_number(env, "TIME_BUDGET_MS", float, 50.0, 0.0, 60_000.0),
        rate_per_key=_number(env, "RATE_PER_KEY", float, 20_000.0, 0.0, 1e6),
        rate_per_address=_number(env, "RATE_PER_ADDRESS", float, 20_000.0, 0.0, 1e6),
        trusted_proxies=tuple(filter(None, map(str.strip, env.get(PREFIX + "TRUSTED_PROXIES", "").split(",")))),
        tiers=_tiers(env),
    )


def _tiers(env: Mapping[str, str]) -> tuple[tuple[str, float], ...]:
    text = env.get(PREFIX + "TIERS")
    if not text:
        return Settings.tiers
    try:
        pairs = [word.rsplit(":", 1) for word in text.split(",")]
        tiers = tuple((name.strip(), float(floor)) for name, floor in pairs)
        floors = [floor for _, floor in tiers]
        if floors[0] == 0 and floors == sorted(set(floors)) and all(name for name, _ in tiers):
            return tiers
    except ValueError:
        pass
    raise SettingsError(
        f"{PREFIX}TIERS expects names with the yearly spend they begin at, the lowest 0, "
        f"such as bronze:0,silver:250,gold:1000; got {text!r}"
    )


def _explore(env: Mapping[str, str]) -> Explore:
    chosen: Explore = _one_of(env, "EXPLORE", EXPLORE)  # type: ignore[assignment]
    return chosen


def _home(env: Mapping[str, str], start: Path) -> Path:
    named = env.get(PREFIX + "HOME")
    if named:
        return Path(named).expanduser().resolve()
    for folder in (start, *start.parents):
        if (folder / "pyproject.toml").exists():
            return (folder / ".regulars").resolve()
    return (start / ".regulars").resolve()


def _absolute(value: str, default: Path) -> Path:
    return Path(value).expanduser().resolve() if value else default


def _one_of(env: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = env.get(PREFIX + name) or allowed[0]
    if value not in allowed:
        raise SettingsError(f"{PREFIX}{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def _zone(env: Mapping[str, str]) -> str:
    value = env.get(PREFIX + "TIMEZONE") or "UTC"
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise SettingsError(f"{PREFIX}TIMEZONE must be an IANA zone such as Europe/Berlin, got {value!r}") from error
    return value


def _number(env: Mapping[str, str], name: str, kind: type[N], default: N, low: float, high: float) -> N:
    text = env.get(PREFIX + name)
    if not text:
        return default
    try:
        value = kind(text)
        if low <= value <= high:
            return value
    except ValueError:
        pass
    raise SettingsError(f"{PREFIX}{name} must be a number from {low:g} to {high:g}, got {text!r}")


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    if not parts.password:
        return address
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:****@{host}"))
