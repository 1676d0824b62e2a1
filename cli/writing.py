"""Files that commands write: by their ending .parquet, .csv or .ndjson, whole or not at all."""

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from regulars.errors import DataError


def write_frame(frame: pd.DataFrame, file: Path) -> None:
    """Write ``frame`` to ``file``, as its ending says: .parquet, .csv or .ndjson."""
    write_frames([frame], file)


def write_frames(frames: Iterable[pd.DataFrame], file: Path) -> int:
    """Write one frame after the other to ``file`` as they come, and say how many rows; what was there stays until all are."""
    if file.suffix not in (".parquet", ".csv", ".ndjson"):
        raise DataError(f"--out must end in .parquet, .csv or .ndjson, got {file}")
    file.parent.mkdir(parents=True, exist_ok=True)
    begun = file.with_name(f".{file.name}.{os.getpid()}")
    count = 0
    try:
        with _Written(begun, file.suffix) as written:
            for frame in frames:
                written.add(frame)
                count += len(frame)
        begun.replace(file)
    finally:
        begun.unlink(missing_ok=True)
    return count


class _Written:
    """A file that frames of the same columns are added to."""

    def __init__(self, file: Path, ending: str) -> None:
        self.ending = ending
        self._file = file
        self._table: pq.ParquetWriter | None = None
        self._nothing: pd.DataFrame | None = None
        self._first = True

    def __enter__(self) -> "_Written":
        self._file.touch()
        return self

    def __exit__(self, *_: object) -> None:
        if self._nothing is not None and self._table is None:
            self._nothing.to_parquet(self._file, index=False)
        if self._table is not None:
            self._table.close()

    def add(self, frame: pd.DataFrame) -> None:
        if self.ending == ".csv":
            frame.to_csv(self._file, index=False, mode="a", header=self._first)
        elif self.ending == ".ndjson":
            frame.to_json(self._file, orient="records", lines=True, mode="a")
        elif frame.empty:  # says nothing of the columns' types
            self._nothing = frame
        else:
            if self._table is None:
                table = pa.Table.from_pandas(frame, preserve_index=False)
                self._table = pq.ParquetWriter(self._file, table.schema)
            self._table.write_table(pa.Table.from_pandas(frame, schema=self._table.schema, preserve_index=False))
        self._first = False
