"""The command line: the only room that prints and exits.

Each module defines one family of commands: ``link`` (publish, link, resume, status, unpublish),
``generate`` (generate, combine, verify), ``extract`` (extract, show), ``inspect``, ``backfill``,
``audit``, ``pages`` and ``doctor`` (doctor, demo). ``arguments`` holds the options that several
commands share. ``printing`` prints results, progress and outcomes.

Commands import what they need inside functions, so that ``esgvzarr --help`` answers at once.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from ..errors import EsgvzarrError, PublisherError, SettingsError
from ..extras import naming_extras
from ..garbage import collect_rarely
from ..interruption import end_quietly
from ..version import __version__
from . import audit, backfill, doctor, extract, generate, inspect, link, pages
from .arguments import EXIT_STATUS
from .completion import add_completion
from .exit_status import ExitStatus
from .loops import loops_ended
from .printing import print_error
from .standard_streams import PipeClosedError, messages_shown, results_printed

__all__ = ["main", "make_parser", "program"]


def program() -> None:
    """Run the command of this process, and end the process with its exit status."""
    with loops_ended():
        main()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status."""
    with messages_shown(), _collecting_rarely():
        sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands. docs/write_reference.py writes docs/reference/commands.md
    from it.
    """
    parser = argparse.ArgumentParser(
        prog="esgvzarr",
        description="Virtual-Zarr access to ESGF climate data that people can trust.",
        epilog=EXIT_STATUS,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"esgvzarr {__version__}")
    parser.add_argument("--debug", action="store_true", help="log each step to standard error")
    add_completion(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    link.add_commands(commands)
    audit.add_commands(commands)
    generate.add_commands(commands)
    inspect.add_commands(commands)
    backfill.add_commands(commands)
    extract.add_commands(commands)
    pages.add_commands(commands)
    doctor.add_commands(commands)
    return parser


def _run(arguments: Sequence[str]) -> int:
    """Run the command, and translate its error into an exit status."""
    try:
        with results_printed():
            options = _parse(arguments)
            _log_to_stderr(logging.DEBUG if options.debug else logging.WARNING)
            with naming_extras(f"esgvzarr {options.command}"):
                return int(options.run(options))
    except PipeClosedError:
        return ExitStatus.PIPE_CLOSED
    except (SettingsError, PublisherError) as error:
        print_error(error)
        return ExitStatus.USAGE
    except EsgvzarrError as error:
        print_error(error)
        return ExitStatus.REFUSED
    except KeyboardInterrupt:
        return end_quietly()


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Let the garbage collector run less often during a command.

    A program that calls ``main`` gets its own thresholds back.
    """
    before = collect_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = make_parser()
    options, unknown = parser.parse_known_args(list(arguments))
    if unknown and not options.takes_unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    options.unknown = unknown
    return options


def _log_to_stderr(level: int) -> None:
    """Show the log records of esgvzarr on standard error.

    The handler is attached to the logger of esgvzarr, not to the root logger: esgcet shows the
    records of the root logger itself, and each record would appear twice.
    """
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("esgvzarr")
    for earlier in [one for one in logger.handlers if isinstance(one, _Stderr)]:
        logger.removeHandler(earlier)
    logger.addHandler(handler)
    logger.setLevel(level)


class _Stderr(logging.StreamHandler[TextIO]):
    """The handler of one run, of a type of its own, so that the handlers of a program that calls
    ``main`` are kept.
    """
