"""The command line before any command runs."""

import subprocess
import sys

import typer

from cli.main import GROUPS, command_line


def commands(*words: str) -> set[str]:
    return set(typer.main.get_command(command_line(words)).commands)


def test_each_file_has_the_commands_that_are_said_to_be_there() -> None:
    for named in GROUPS.values():
        assert commands(named[0], "--help") == set(named)
    assert commands() == commands("nonsense") == {name for named in GROUPS.values() for name in named}


def test_it_says_its_version() -> None:
    said = subprocess.run([sys.executable, "-m", "cli.main", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("regulars 0.")
