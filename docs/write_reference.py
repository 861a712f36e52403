"""Write the pages that follow from the code: ``python docs/write_reference.py``. A test fails when
they are stale.
"""

from __future__ import annotations

import argparse
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import esgvzarr.backfill
from esgvzarr.cli import make_parser
from esgvzarr.errors import EXCEPTIONS, EsgvzarrError, RefusedError, Traits, kind_of, traits_of
from esgvzarr.settings import ENVIRONMENT_PREFIX, Settings

HERE = Path(__file__).parent / "reference"
_NOTE = "<!-- Written by docs/write_reference.py: change the code, then run it. -->\n"
_KINDS = {
    "Path | None": "path",
    "str | None": "URL prefix",
    "Path": "path",
    "str": "the name of an output",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
}
_SETTINGS = """
Settings are read from the `esgvzarr:` section of esgcet's own `esg.yaml`. An environment variable
overrides the file, and an argument on the command line overrides both. All have a default. An
unknown or wrong setting stops the command with exit status 2; the message names file, line and key.
`config/esg.yaml` in the source tree shows the whole file, `config/schema.json` is its JSON Schema.

Lists and mappings are written in an environment variable as YAML has them on one line:
`ESGVZARR_ALLOWED_HOSTS='[a.example.org, b.example.org]'`.
"""

_COMPLETION = """## Completion in shells

Install the extra `completion`, and let your shell read the script that `--print-completion` prints:

```sh
pip install 'esgvzarr[completion]'
mkdir -p ~/.local/share/bash-completion/completions
esgvzarr --print-completion bash > ~/.local/share/bash-completion/completions/esgvzarr
```

New shells then complete commands, options, choices and paths. With zsh, print the script for
`zsh` to a file `_esgvzarr` in a directory of `$fpath`; with tcsh, print it for `tcsh` and source it
from `~/.tcshrc`.
"""


def settings_page() -> str:
    """All settings, from the fields of ``Settings``."""
    lines = ["# Settings", "", _NOTE, _SETTINGS.lstrip()]
    for name in Settings.model_fields:
        lines += _setting(name)
    return "\n".join(lines)


def _setting(name: str) -> Iterator[str]:
    field = Settings.model_fields[name]
    default = field.get_default(call_default_factory=True)
    shown = _shown(default)
    yield f"## `{name}`"
    yield ""
    yield str(field.description)
    yield ""
    yield f"- Value: {_kind(field.annotation)}{_limits(field.metadata)}"
    yield f"- Default: {shown}"
    yield f"- Environment: `{ENVIRONMENT_PREFIX}{name.upper()}`"
    yield ""


def _shown(default: object) -> str:
    if default is None:
        return "none"
    if default in ((), {}):
        return "empty"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _kind(annotation: object) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    if typing.get_origin(annotation) is dict:
        return "mapping of absolute directory to URL prefix"
    if typing.get_origin(annotation) is tuple:
        return "list"
    name = (
        annotation.__name__
        if isinstance(annotation, type)
        else str(annotation).replace("pathlib._local.", "").replace("pathlib.", "")
    )
    return _KINDS[name]


def _limits(metadata: list[object]) -> str:
    words = {"gt": "more than", "ge": "at least", "le": "at most"}
    said = []
    for limit in metadata:
        for key, word in words.items():
            if hasattr(limit, key):
                said.append(f"{word} {getattr(limit, key):g}")
    return f", {', '.join(said)}" if said else ""


def commands_page() -> str:
    """All commands, from the argument parser."""
    parser = make_parser()
    actions = [
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    ]
    lines = [
        "# Commands",
        "",
        _NOTE,
        str(parser.description),
        "",
        "The last line on standard error says what went wrong, with a [stable code](errors.md).",
        "`python -m esgvzarr` runs the same program.",
        "",
        "## Options of all commands",
        "",
        "They stand before the command: `esgvzarr --debug publish ...`.",
        "",
        *_options(parser),
    ]
    lines += [_COMPLETION]
    for name, command in actions[0].choices.items():
        lines += [
            f"## `esgvzarr {name}`",
            "",
            str(command.description),
            "",
            "```text",
            _usage(command),
            "```",
            "",
            *_options(command),
        ]
        lines += [str(command.epilog), ""]
    return "\n".join(lines)


def _usage(parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=100)
    formatter.add_usage(parser.usage, parser._actions, [], prefix="")
    words = " ".join(formatter.format_help().split())
    return words + " [arguments of esgpublish]" if parser.prog.endswith(" publish") else words


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield "| argument | meaning |"
    yield "| --- | --- |"
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        value = action.metavar or (
            "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
        )
        value = f"{value}..." if action.nargs == "+" else value
        shown = ", ".join(f"{option} {value}".strip() for option in action.option_strings) or str(
            value
        )
        yield f"| `{shown.replace('|', chr(92) + '|')}` | {_text(action.help)} |"
    yield ""


def _text(words: str | None) -> str:
    """Names between angle brackets are no HTML."""
    return re.sub(r"<(\w+)>", r"&lt;\1&gt;", words or "")


_TRAITS_BEGIN = (
    "<!-- Traits, written by docs/write_reference.py: change errors.py, then run it. -->"
)
_TRAITS_END = "<!-- End of the traits. -->"


def errors_page() -> str:
    """The error codes as they are written by hand, with what handlers decide by from the code."""
    page = (HERE / "errors.md").read_text(encoding="utf-8")
    before, _, rest = page.partition(_TRAITS_BEGIN)
    _, _, after = rest.partition(_TRAITS_END)
    return "\n".join([f"{before}{_TRAITS_BEGIN}", "", *_traits(), "", f"{_TRAITS_END}{after}"])


def _traits() -> Iterator[str]:
    yield "| code | class | whose fault | stops a run | may be applied | may pass |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for kind in EsgvzarrError.__subclasses__():
        first_word = kind.code.partition("-")[0]
        codes = "of its findings" if kind is RefusedError else f"other `{first_word}-...`"
        yield _traits_row(codes, kind.__name__, kind.usual)
    for code, traits in EXCEPTIONS.items():
        kind_name = "" if code.startswith("audit-") else kind_of(code).__name__
        yield _traits_row(f"`{code}`", kind_name, traits)
    for first_word in ("transport", "index"):
        for status in _STATUSES:
            code = f"{first_word}-http-{status}"
            yield _traits_row(f"HTTP {status}: `{code}`", kind_of(code).__name__, traits_of(code))


_STATUSES = (403, 408, 429, 500, 503)


def _traits_row(codes: str, kind: str, traits: Traits) -> str:
    flags = (traits.blocks_all, traits.may_be_applied, traits.retryable)
    cells = [
        codes,
        f"`{kind}`" if kind else "",
        str(traits.fault),
        *("yes" if flag else "" for flag in flags),
    ]
    return "| " + " | ".join(cells) + " |"


PAGES = {"settings.md": settings_page, "commands.md": commands_page, "errors.md": errors_page}


CODES = Path(esgvzarr.backfill.__file__).with_name("codes.json")
"""What reports say of codes, for where there is no documentation at hand."""
_CODE_ROW = re.compile(r"^\| `([a-z][a-z0-9-]+)` \| (?:[0-9, ]* \| )?(.+?) \|")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def codes() -> dict[str, list[str]]:
    """Code -> section of errors.md, and what it says of the code."""
    found = {}
    section = ""
    for line in errors_page().partition(_TRAITS_BEGIN)[0].splitlines():
        if line.startswith("## "):
            section = line.partition("{ #")[2].rstrip(" }")
        row = _CODE_ROW.match(line)
        if row:
            found[row[1]] = [section, _LINK.sub(r"\1", row[2]).replace("`", "")]
    return found


def codes_text() -> str:
    """`codes` as JSON."""
    return json.dumps(codes(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all pages."""
    CODES.write_text(codes_text(), encoding="utf-8")
    for name, page in PAGES.items():
        (HERE / name).write_text(page().rstrip("\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
