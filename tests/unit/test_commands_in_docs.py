"""Commands, options and defaults that the documentation names are there, under the names that it gives them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from support.services import ROOT

from service.cli import main
from service.cli.options import Listing
from service.settings import Settings

PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md"]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELLS = ("", "sh", "bash", "console")
SPAN = re.compile(r"`([^`]+)`")
COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S* )*espalier (.+)")
DEFAULT = re.compile(r"`ESPALIER_([A-Z_]+)` \(([\d.,]+)[;)]")
ON_KUBERNETES = "kubernetes.md"  # where manifests set some


def commands(text: str) -> Iterator[list[str]]:
    """What follows `espalier`, word by word: of spans and of lines that a shell would take."""
    lines = [line for kind, block in FENCE.findall(text) if kind in SHELLS for line in _lines(block)]
    spans = [span.replace("\n", " ") for span in SPAN.findall(FENCE.sub("", text))]
    for line in [*lines, *spans]:
        found = COMMAND.match(line.strip())
        if found:
            yield _words(found[1])


def _lines(block: str) -> list[str]:
    return re.split(r"\n|&&|\|", block.replace("\\\n", " "))


def _words(rest: str) -> list[str]:
    try:
        return shlex.split(rest, comments=True)
    except ValueError:  # a quotation mark of the text around it
        return rest.split()


def fault(words: list[str]) -> str | None:
    """What of it there is not."""
    command: click.Command = main
    known, flags = _options(main), _flags(main)
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        value = before.startswith("-") and "=" not in before and before not in flags
        if isinstance(command, click.Group) and not word.startswith("-") and not value:
            found = command.get_command(click.Context(command), word)
            if found is None:
                return None if word == "…" or word.isupper() else f"no command {' '.join(words[: number + 1])}"
            command = found
            known, flags = known | _options(command), flags | _flags(command)
    if isinstance(command, Listing):  # without a word behind it
        known |= _options(command.commands["list"])
    asked = {word.partition("=")[0].rstrip(".,…") for word in words if re.match(r"--?[a-z]", word)}
    return next((f"no option {option} of {' '.join(words)}" for option in sorted(asked - known)), None)


def _options(command: click.Command) -> set[str]:
    return {"--help"} | {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def _flags(command: click.Command) -> set[str]:
    """Options that take no value."""
    return {"--help"} | {name for one in command.params if getattr(one, "is_flag", False) for name in one.opts}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_of_a_page_is_there(page: Path) -> None:
    assert [found for words in commands(page.read_text()) if (found := fault(words))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_number_behind_a_setting_is_its_default(page: Path) -> None:
    fields = Settings.model_fields
    for name, number in DEFAULT.findall(page.read_text()) if page.name != ON_KUBERNETES else ():
        assert float(number.replace(",", "")) == fields[name.lower()].default, f"ESPALIER_{name}"


def test_what_is_not_there_is_found() -> None:
    text = "`espalier report`, or `A=1 espalier heads report cats --nothing`\n```sh\n$ espalier serve --port 1 | x\n```"
    assert [fault(words) for words in commands(text)] == [
        None, "no command report", "no option --nothing of heads report cats --nothing",
    ]  # fmt: skip
    assert DEFAULT.findall("`ESPALIER_KEEP_JOBS` (10,000) and `ESPALIER_HANG_SECONDS` (30; 0 …)") == [
        ("KEEP_JOBS", "10,000"), ("HANG_SECONDS", "30"),
    ]  # fmt: skip
