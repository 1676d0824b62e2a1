"""The service's database: SQLite for one worker, PostgreSQL for several; the same answers from both."""

from serving.store.database import Store, open_store

__all__ = ["Store", "open_store"]
