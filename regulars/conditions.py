"""Conditions that shops write in CEL (Common Expression Language): read once, refused where they could hold the interpreter.

A macro (``all``, ``exists``, ``exists_one``, ``map``, ``filter``) may not stand inside another: two nested ones over 200
elements hold the interpreter for seconds.
"""

import re
from typing import Any

import cel

from regulars.errors import DataError

LONGEST = 2_000
DEEPEST = 50
_TEXT = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)
_MACRO = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*$")


def read_condition(source: str, *, called: str) -> Any:
    """The program of ``source``, which ``execute`` asks; ``called`` is what errors call it.

    Raises:
        DataError: where it cannot be read, is too long, or has a macro within a macro.
    """
    if len(source) > LONGEST:
        raise DataError(f"{called} has at most {LONGEST:,} characters, got {len(source):,}")
    _check_nesting(source, called)
    try:
        return cel.compile(source)
    except ValueError as error:
        raise DataError(f"{called} cannot be read: {str(error).splitlines()[0]}; got {source!r}") from error


def _check_nesting(source: str, called: str) -> None:
    """Raises DataError for a macro inside a macro, or for brackets too deep to read."""
    bare = _TEXT.sub(lambda found: " " * len(found.group()), source)
    open_brackets: list[bool] = []
    for place, sign in enumerate(bare):
        if sign in "([{":
            is_macro = sign == "(" and _MACRO.search(bare[:place]) is not None
            if is_macro and any(open_brackets):
                raise DataError(f"{called} may not nest all, exists, map or filter: {source!r}")
            open_brackets.append(is_macro)
        elif sign in ")]}" and open_brackets:
            open_brackets.pop()
        if len(open_brackets) > DEEPEST:
            raise DataError(f"{called} has brackets at most {DEEPEST} deep: {source[:80]!r}")
