"""Compiled code is taken from disk only while nothing changed that it may be made of."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest
from numba import njit

from regulars.models.compiled import kept, stamp_of


def test_a_stamp_tells_of_every_file(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "one.py").write_text("1")
    (tmp_path / "notes.txt").write_text("not code")
    before = stamp_of(tmp_path)
    assert [name for name, _, _ in before] == [os.path.join("inner", "one.py")]
    (inner / "one.py").write_text("one")
    assert stamp_of(tmp_path) != before


def test_what_was_compiled_is_made_anew_where_other_code_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "cache"))
    source = tmp_path / "doubling.py"
    source.write_text("def doubled(number):\n    return 2 * number\n")

    def misses(stamp: str) -> int:
        function = kept(njit(cache=True)(loaded(source).doubled), ((stamp, 0, 0),))
        assert function(21) == 42
        return sum(function.stats.cache_misses.values())

    assert [misses(stamp) for stamp in ("before", "before", "after", "after")] == [1, 0, 1, 0]


def loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
