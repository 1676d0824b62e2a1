"""Opens a file of rows, whatever it is written in, as a relation of raw columns.

Encodings and separators are found out and said. Nothing is typed here: that is ``regulars.intake``'s.
"""

import codecs
import csv
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd
from python_calamine import CalamineError, load_workbook

from regulars.errors import ImportRefused
from regulars.intake import LINE, columns_of, literal

FORMATS = (".csv", ".tsv", ".parquet", ".ndjson", ".jsonl", ".xlsx")
RAW = "raw"
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
BLOCK = 1 << 20
LARGEST_OBJECT = 64 << 20


@dataclass(frozen=True)
class Opened:
    """A relation with the file's raw columns and ``_line``, counted from 1 without a header; and how it was read."""

    relation: str
    how: str


def open_file(connection: duckdb.DuckDBPyConnection, file: Path) -> Opened:
    """The rows of ``file``, kept in ``connection`` as the temporary table ``raw``.

    Raises:
        ImportRefused: where the file is not there, empty, of another format or broken.
    """
    if not file.is_file():
        raise ImportRefused(f"{file} is no file")
    ending = file.suffix.lower()
    if ending not in FORMATS:
        raise ImportRefused(f"{file.name}: expected one of {', '.join(FORMATS)}, got {ending or 'no ending'}")
    if file.stat().st_size == 0:
        raise ImportRefused(f"{file.name} is empty")
    try:
        if ending == ".xlsx":
            how = _open_xlsx(connection, file)
        elif ending in (".csv", ".tsv"):
            how = _open_text(connection, file)
        else:
            how = ending[1:]
            _keep(connection, _reader(ending, file))
    except (duckdb.Error, CalamineError, UnicodeError) as error:
        raise ImportRefused(f"{file.name} cannot be read: {_first_lines(error)}") from error
    if not columns_of(connection, RAW):
        raise ImportRefused(f"{file.name} has no columns")
    return Opened(RAW, how)


def _reader(ending: str, file: Path) -> str:
    if ending == ".parquet":
        return f"read_parquet({literal(str(file))})"
    return (
        f"read_json({literal(str(file))}, format = 'newline_delimited', union_by_name = true, "
        f"maximum_object_size = {LARGEST_OBJECT}, sample_size = -1)"
    )


def _keep(connection: duckdb.DuckDBPyConnection, reader: str) -> None:
    columns_of(connection, reader)
    connection.execute(f"create or replace temp table {RAW} as select row_number() over () as {LINE}, * from {reader}")


def _open_text(connection: duckdb.DuckDBPyConnection, file: Path) -> str:
    encoding = encoding_of(file)
    separator = "\t" if file.suffix.lower() == ".tsv" else separator_of(file, encoding)
    with _in_utf8(file, encoding) as readable:
        options = (
            f"all_varchar = true, header = true, null_padding = true, skip = 0, delim = {literal(separator)}, "
            "quote = '\"', escape = '\"'"
        )
        reader = f"read_csv({literal(str(readable))}, {options}"
        try:
            _keep(connection, f"{reader})")
        except duckdb.Error as error:
            if "parallel" not in str(error):
                raise
            _keep(connection, f"{reader}, parallel = false)")  # lines within quotes need it
    return f"{encoding}, separated by {SEPARATORS[separator]}"


def encoding_of(file: Path) -> str:
    """utf-8, utf-16 by its mark, else windows-1252, in which every byte means something."""
    with file.open("rb") as opened:
        start = opened.read(2)
        if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        opened.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while block := opened.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "windows-1252"
    return "utf-8"


def separator_of(file: Path, encoding: str) -> str:
    """The separator that makes most columns of the header line, a comma where none does."""
    with file.open(encoding=encoding, errors="replace", newline="") as opened:
        header = opened.readline()
    counts = {mark: len(next(csv.reader([header], delimiter=mark), [])) for mark in SEPARATORS}
    return max(counts, key=lambda mark: counts[mark])


@contextmanager
def _in_utf8(file: Path, encoding: str) -> Iterator[Path]:
    """The file itself, or for its duration a copy in UTF-8."""
    if encoding == "utf-8":
        yield file
        return
    handle, name = tempfile.mkstemp(suffix=file.suffix)
    try:
        with (
            file.open(encoding=encoding, errors="replace", newline="") as read,
            os.fdopen(handle, "w", newline="") as written,
        ):
            while block := read.read(BLOCK):
                written.write(block)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _open_xlsx(connection: duckdb.DuckDBPyConnection, file: Path) -> str:
    """The first sheet, and every other with the same header."""
    book = load_workbook(str(file))
    parts: list[pd.DataFrame] = []
    used, left = [], []
    for name in book.sheet_names:
        rows = book.get_sheet_by_name(name).to_python(skip_empty_area=True)
        if not rows:
            continue
        header = [str(value).strip() or f"column{number}" for number, value in enumerate(rows[0])]
        if parts and header != list(parts[0].columns):
            left.append(name)
            continue
        parts.append(pd.DataFrame(rows[1:], columns=header, dtype=object))
        used.append(name)
    if not parts:
        raise ImportRefused(f"{file.name} has no rows")
    table = pd.concat(parts, ignore_index=True)
    connection.register("sheet", pd.DataFrame({name: _column(table[name]) for name in table}))
    _keep(connection, "sheet")
    connection.unregister("sheet")
    return f"xlsx, sheet {', '.join(used)}" + (f" (left out, other columns: {', '.join(left)})" if left else "")


def _column(values: pd.Series) -> pd.Series:
    """Numbers and times as such, anything mixed as text; an empty cell is missing."""
    given = values.where(values.map(lambda value: value != ""), None)
    kinds = {type(value) for value in given.dropna()}
    if kinds <= {int, float}:
        return pd.to_numeric(given)
    if kinds and all(kind.__name__ in ("datetime", "date") for kind in kinds):
        return pd.to_datetime(given)
    return given.map(lambda value: value if value is None else _as_text(value)).astype("string")


def _as_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _first_lines(error: Exception) -> str:
    """The lines of an error that say what and where, not those that list settings."""
    lines = [line.strip() for line in str(error).splitlines()]
    return "; ".join(line for line in lines[:4] if line and not line.startswith(("file =", "Possible")))
