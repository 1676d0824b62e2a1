"""The command line: one file per group of commands, one line for an error."""

import logging
import sys

import typer

from cli import asking, comparing, importing, nightly, operating, training
from cli.shop import console
from regulars.errors import RegularsError

app = typer.Typer(
    help="What each shopper would like next, who is about to leave and why, and which offer is worth making.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

for group in (importing, training, asking, comparing, nightly, operating):
    group.register(app)


def main() -> None:
    """Run the command line: exit 0 where all was done, 1 where the input or the state is wrong, 2 for wrong usage."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app()
    except RegularsError as error:
        console.print(f"regulars: {error}", markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
