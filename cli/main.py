"""The command line: one file per group of commands, one line for an error."""

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

from cli.shop import console
from regulars.errors import RegularsError

GROUPS = {
    "importing": ("import", "import-dataset"),
    "training": ("features", "train"),
    "asking": ("score", "recommend", "decide", "retention"),
    "comparing": ("compare", "promote", "rollback"),
    "nightly": ("compact", "publish", "retrain"),
    "operating": ("settings", "serve", "list", "forget", "export-customer", "keys"),
    "reporting": ("report",),
    "demo": ("demo",),
}


def command_line(words: Sequence[str]) -> typer.Typer:
    """The commands of the file that ``words`` ask for, of all files where they ask for none: a start waits for no others."""
    app = typer.Typer(
        help="What each shopper would like next, who is about to leave and why, and which offer is worth making.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_everywhere)
    asked = next((word for word in words if not word.startswith("-")), "")
    for group in [name for name, commands in GROUPS.items() if asked in commands] or GROUPS:
        import_module(f"cli.{group}").register(app)
    return app


def _say_version(asked: bool) -> None:
    if asked:
        print(f"regulars {version('regulars')}")
        raise typer.Exit


def _everywhere(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_say_version)
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line: exit 0 where all was done, 1 where the input or the state is wrong, 2 for wrong usage."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        command_line(sys.argv[1:])()
    except RegularsError as error:
        console.print(f"regulars: {error}", markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
