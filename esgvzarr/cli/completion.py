"""Completion of commands and options in shells; shtab makes the scripts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ..extras import naming_extras
from .arguments import given_path

SHELLS = ("bash", "zsh", "tcsh")


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Add the option that prints a completion script."""
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help="print a script that completes commands and options in this shell",
    )


class _PrintCompletion(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        print(completion_script(parser, str(values)))
        parser.exit()


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Make the completion script of a parser.

    Raises:
        SettingsError: shtab is not installed.
    """
    with naming_extras("shell completion"):
        import shtab
    _complete_paths(parser, shtab.FILE)
    return str(shtab.complete(parser, shell))


def _complete_paths(parser: argparse.ArgumentParser, with_files: object) -> None:
    """Let arguments that are paths be completed with files and directories."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_paths(command, with_files)
        elif action.type is given_path or action.dest == "sources":
            action.complete = with_files  # type: ignore[attr-defined]
