"""Arguments that several commands share, and the settings that follow from them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..directories import exists
from ..plugins import registered

if TYPE_CHECKING:
    from ..model import DatasetId
    from ..settings import Settings

EXIT_STATUS = (
    "Exit status: 0 done, 1 refused or failed (the last line says why), 2 wrong usage or "
    "configuration, 130 interrupted, 141 the program that reads the output has ended."
)
"""The last line of a command's help, for commands that state no other."""
CONFIG_OF_ESGPUBLISH = "that of esgpublish"
Run = Callable[[argparse.Namespace], int]
"""Runs a command and returns its exit status."""


def add_command(
    commands: Any, name: str, run: Run, help: str, epilog: str = EXIT_STATUS
) -> argparse.ArgumentParser:
    """Add a command without arguments.

    Args:
        commands: the subparsers of ``esgvzarr``.
        name: the name of the command.
        run: carries out the command and returns its exit status.
        help: one line for the list of commands; the command's own help begins with it.
        epilog: the last line of the command's own help.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=epilog,
        allow_abbrev=False,
    )
    parser.set_defaults(command=name, run=run, takes_unknown=False)
    return parser


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the sources that describe a dataset, and the option that names one dataset of them."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help=(
            "a THREDDS catalogue, a publication record, a STAC item or a mapfile, or "
            "NetCDF files and directories; URLs or paths"
        ),
    )
    parser.add_argument(
        "--dataset-id",
        metavar="DSID",
        help="the dataset id; required for plain NetCDF files; otherwise it selects one dataset "
        "of SOURCE",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses outputs."""
    parser.add_argument(
        "--output",
        dest="outputs",
        action="append",
        choices=sorted(registered("esgvzarr.outputs")),
        help="the format in which references are written; may be given several times; overrides "
        "the settings",
    )


def add_output_dir(parser: argparse.ArgumentParser, help: str) -> None:
    """Add the directory that a command writes to."""
    parser.add_argument("--output-dir", metavar="DIR", type=given_path, required=True, help=help)


def add_force(parser: argparse.ArgumentParser, replaced: str) -> None:
    """Add the option that allows a command to replace a file."""
    parser.add_argument(
        "--force", action="store_true", help=f"replace {replaced} with different content"
    )


def add_dry_run(parser: argparse.ArgumentParser, help: str) -> None:
    """Add the option that makes a command show its changes and carry out none of them."""
    parser.add_argument("--dry-run", action="store_true", help=help)


SENDS_NOTHING = "show what would be done; send and write nothing"
WRITES_NOTHING = "show what would be done; write nothing"


def add_dataset_ids(parser: argparse.ArgumentParser, help: str) -> None:
    """Add any number of dataset ids."""
    parser.add_argument("dataset_ids", nargs="*", metavar="DSID", help=help)


def add_json(parser: argparse.ArgumentParser, help: str) -> None:
    """Add the option that prints results as JSON."""
    parser.add_argument("--json", action="store_true", help=help)


def add_settings(parser: argparse.ArgumentParser, default_config: str = "none") -> None:
    """Add the option that names the configuration, and options that override single settings."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=given_path,
        help=f"esg.yaml with an esgvzarr: section; default: {default_config}",
    )
    parser.add_argument(
        "--read",
        choices=("auto", "http", "local"),
        help="where metadata are read from; overrides the setting",
    )
    parser.add_argument(
        "--allow-host",
        metavar="HOST",
        action="append",
        default=[],
        help="also fetch from this host; may be given several times",
    )


def given_path(text: str) -> Path:
    """Parse a path. An empty argument, as an unset shell variable gives, is an error: pathlib would
    read it as the current directory.

    Raises:
        argparse.ArgumentTypeError: the path is empty.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty; for the current directory, give .")
    return Path(text)


def positive_count(text: str) -> int:
    """Parse a count, which must be at least 1.

    Raises:
        argparse.ArgumentTypeError: it is less than 1.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {text}; expected 1 or more")
    return number


def dataset_id_of(options: argparse.Namespace) -> DatasetId | None:
    """Return the value of ``--dataset-id`` as a dataset id."""
    from ..model import DatasetId

    return DatasetId.parse(options.dataset_id) if options.dataset_id else None


def settings_of(options: argparse.Namespace, config: Path | None) -> Settings:
    """Read the settings from the configuration, and override them by the options."""
    from ..settings import read_settings

    settings = read_settings(config, read=options.read, outputs=getattr(options, "outputs", None))
    allowed_hosts = (*settings.allowed_hosts, *options.allow_host)
    return settings.model_copy(update={"allowed_hosts": allowed_hosts})


def config_of_esgpublish(options: argparse.Namespace) -> Path:
    """Return the path in ``--config``, else the path of esgpublish's configuration, which need not
    exist.
    """
    from ..esgpublish import config_path

    config: Path | None = options.config
    return config or config_path([])


def config_if_any(options: argparse.Namespace) -> Path | None:
    """Return what ``config_of_esgpublish`` returns, or None if ``--config`` is not given and the
    file does not exist.
    """
    config = config_of_esgpublish(options)
    return config if options.config or exists(config) else None
