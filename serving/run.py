"""Runs the service: workers under Granian, and beside them the process that brings champions to disk."""

import gc
import multiprocessing
import os
import shutil
import tempfile
from contextlib import suppress
from multiprocessing.context import SpawnProcess
from threading import Event, Thread

from granian import Granian
from granian.constants import Interfaces

from regulars.errors import SettingsError
from regulars.models.threads import always_one_thread
from regulars.settings import Settings
from serving.store.database import is_sqlite

WATCH_AGAIN_S = 5.0
STOPPED_WITHIN_S = 8  # less than the 10 that a container is given; what was accepted is on disk by then
BEHIND = 10
COUNTED_IN = "PROMETHEUS_MULTIPROC_DIR"


def serve(settings: Settings, *, host: str, port: int, workers: int) -> None:
    """Serve until told to stop (SIGINT, SIGTERM).

    Raises:
        SettingsError: where more workers are asked for than the database can take.
        StoreError: where the database cannot be used.
    """
    if workers > 1 and is_sqlite(settings.database_url):
        raise SettingsError(
            f"SQLite serves one worker, {workers} were asked for; set REGULARS_DATABASE_URL to a PostgreSQL database, "
            "or --workers 1"
        )
    _finish_what_is_begun()
    os.environ.update(_environment(settings))
    os.environ[COUNTED_IN] = tempfile.mkdtemp(prefix="regulars-metrics-")  # where the workers' counters are added up
    stopped = Event()
    try:
        _bring(settings)
        # in this thread: a worker that is forked while another thread imports waits forever for what that one was importing
        watcher = _start_watcher(settings)
        Thread(target=_keep_watching, args=(settings, watcher, stopped), daemon=True).start()
        Granian(
            "serving.app:create",
            factory=True,
            interface=Interfaces.ASGI,
            address=host,
            port=port,
            workers=workers,
            respawn_failed_workers=True,
            workers_kill_timeout=STOPPED_WITHIN_S,
            websockets=False,
        ).serve()
    finally:
        stopped.set()
        shutil.rmtree(os.environ[COUNTED_IN], ignore_errors=True)


def _finish_what_is_begun() -> None:
    """Ask the system not to stop a thread of this process, or of those it starts, for another of them that has just been woken.

    An answer wakes four others on its way (server, database, ranker, writer): each would go on in its place, and it would wait.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _bring(settings: Settings) -> None:
    """Have here, before workers are forked, what each of them would bring for itself, code, champion and generation: they share it.

    A worker that starts when there is another champion or generation loads that.
    """
    from serving import app  # noqa: PLC0415 - here, since other commands need none of it
    from serving.live import bring  # noqa: PLC0415

    always_one_thread()
    app.brought = bring(settings)
    gc.collect()
    gc.freeze()  # the collector would write to what is shared


def _environment(settings: Settings) -> dict[str, str]:
    """What makes a worker read these very settings, wherever it starts."""
    return {
        "REGULARS_HOME": str(settings.home),
        "REGULARS_LAKE": str(settings.lake),
        "REGULARS_DATABASE_URL": settings.database_url,
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),  # requests run side by side already
    }


def _start_watcher(settings: Settings) -> SpawnProcess:
    watcher = multiprocessing.get_context("spawn").Process(
        target=_watch, args=(settings, os.getpid()), name="champions", daemon=True
    )
    watcher.start()
    return watcher


def _keep_watching(settings: Settings, watcher: SpawnProcess, stopped: Event) -> None:
    """Run the watcher again where it ended."""
    while True:
        watcher.join()
        if stopped.wait(WATCH_AGAIN_S):
            return
        watcher = _start_watcher(settings)


def _watch(settings: Settings, parent: int) -> None:
    os.nice(BEHIND)  # importing MLflow takes seconds of a processor, and so may a large registry
    from serving.registry import watch  # noqa: PLC0415 - here, so that only this process carries MLflow

    watch(settings, parent)
