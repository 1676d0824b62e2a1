"""Files that come frame by frame: the same rows, all or nothing."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from cli.writing import write_frames
from regulars.errors import DataError

PARTS = [pd.DataFrame({"id": ["a", "é,b"], "score": [0.5, None]}), pd.DataFrame({"id": ["c"], "score": [1.0]})]
READ = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".ndjson": lambda file: pd.read_json(file, lines=True)}


@pytest.mark.parametrize("ending", READ)
def test_frames_follow_each_other(tmp_path: Path, ending: str) -> None:
    file = tmp_path / "deep" / f"out{ending}"
    empty = PARTS[0].iloc[:0]
    assert write_frames([empty, *PARTS, empty], file) == 3
    pd.testing.assert_frame_equal(READ[ending](file), pd.concat(PARTS, ignore_index=True))
    assert [found.name for found in file.parent.iterdir()] == [file.name]


def test_nothing_is_a_file_with_columns(tmp_path: Path) -> None:
    write_frames([PARTS[0].iloc[:0]], tmp_path / "none.parquet")
    assert list(pd.read_parquet(tmp_path / "none.parquet").columns) == ["id", "score"]


def test_what_was_there_stays_where_the_work_fails(tmp_path: Path) -> None:
    def failing() -> Iterator[pd.DataFrame]:
        yield PARTS[0]
        raise DataError("no more")

    file = tmp_path / "out.csv"
    file.write_text("before")
    with pytest.raises(DataError, match="no more"):
        write_frames(failing(), file)
    assert file.read_text() == "before"
    assert [found.name for found in tmp_path.iterdir()] == ["out.csv"]


def test_an_ending_that_is_not_known_says_which_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.parquet, \.csv or \.ndjson"):
        write_frames(PARTS, tmp_path / "out.txt")
