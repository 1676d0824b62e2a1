"""The service as one ASGI application."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from granian.utils.proxies import wrap_asgi_with_proxy_headers

from regulars.models.threads import always_one_thread
from regulars.settings import Settings, read_settings
from serving.champions import Champions
from serving.every import Every
from serving.limits import Sizes
from serving.live import Brought, Live
from serving.metrics import Measured
from serving.problems import add_problem_handlers
from serving.routes import (
    changes,
    customers,
    dashboard,
    decisions,
    health,
    lists,
    metrics,
    models,
    page,
    recommendations,
    reports,
    retention,
    rules,
    tracking,
)
from serving.routes.direct import Straight
from serving.store import open_store
from serving.store.database import away_errors, value_errors
from serving.tidying import YOUNG_S, Tidying

PARTS = (
    health,
    metrics,
    dashboard,
    page,
    recommendations,
    customers,
    lists,
    decisions,
    models,
    tracking,
    changes,
    rules,
    retention,
    reports,
)
ABOUT = """What each shopper would like next, who is about to leave and why, and which offer is worth making.

Every call but `/health/*` needs a key: `Authorization: Bearer KEY` (`regulars keys create --scope lists`)."""


# ours is at /metrics; to look for OpenTelemetry's with every request takes time
NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False}

CORS: dict[str, Any] = {
    "allow_origins": ["*"],
    "allow_methods": ["GET", "POST", "PUT", "DELETE"],
    "allow_headers": ["Authorization", "Content-Type", "Content-Encoding", "X-Customer-Token"],
    "expose_headers": ["Retry-After"],
}

brought: Brought | None = None  # by the process that workers are forked from


def create_app(
    settings: Settings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), shared: Brought | None = None
) -> FastAPI:
    """The application over the store and the champions of ``settings``; ``now`` is its clock. It begins with what is ``shared``."""

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        found = shared or Brought(Champions(settings.home), None, 0)
        live = Live(
            settings, open_store(settings.database_url), found.champions, now=now, shelf=found.shelf, told=found.told
        )
        live.start()
        app.state.live = live
        beside = (live.lag, Every(live.shown.every_s, live.shown.flush), Every(YOUNG_S, Tidying().look))
        for one in beside:
            one.start()
        try:
            yield
        finally:
            for one in beside:
                one.stop()
            live.stop()

    app = FastAPIOffline(
        title="Regulars",
        version="0.1.0",
        description=ABOUT,
        lifespan=running,
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
        openapi_url="/docs/openapi.json",
        static_url="/docs/static",
        telemetry=NO_TELEMETRY,
    )
    app.add_middleware(Sizes)
    app.add_middleware(CORSMiddleware, **CORS)
    app.add_middleware(Measured)
    add_problem_handlers(app, away=away_errors(settings.database_url), values=value_errors(settings.database_url))
    for part in PARTS:
        app.include_router(part.router)
    routers = [part.router for part in PARTS]
    app.middleware_stack = Straight(app.build_middleware_stack(), routers=routers, cors=CORS)  # before all other layers
    return app


def create() -> Callable[..., Any]:
    """The application as a server's worker makes it, from the environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = read_settings()
    always_one_thread()
    app, trusted = create_app(settings, shared=brought), list(settings.trusted_proxies)
    return wrap_asgi_with_proxy_headers(app, trusted_hosts=trusted) if trusted else app
