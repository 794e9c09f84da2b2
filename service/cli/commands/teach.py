"""`espalier finetune`, `suggest` and `predict`: teaching a head and asking it."""

import os
import re
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli.options import connect, finish, remote, show

if TYPE_CHECKING:
    from service.client import Client
    from service.intake.datasets.sources import Received

_UNSEEN = (
    "everything lies in the folder {0}, and the key may not see whether the head has a class of that name: if the "
    "classes begin below it, give --root {0}"
)
SHOWN = 80  # characters of a text in a table


@click.command()
@click.argument("head")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--task", help="classification (default), multilabel, regression; a head keeps its own.")
@click.option("--method", help="auto (default), deep, gda, logistic, mlp, prototype, ridge")
@click.option("--hyperparameters", help="JSON object, e.g. '{\"regularization\": 0.001}'")
@click.option("--backbone", help="Name of a backbone; default: the head's own.")
@click.option(
    "--mode", type=click.Choice(["append", "replace"]), help="Add to the head's examples (default) or start over."
)
@click.option("--seed", type=int)
@click.option(
    "--views", help="Crops and mirror images to train on as well: auto (default, few images), none, crops, flip, all."
)
@click.option(
    "--reads", help="What to read of the backbone: auto (default), pooled (the last layer), taps (all blocks)."
)
@click.option("--budget", type=float, help="Seconds that the race of methods may take; more tries more candidates.")
@click.option(
    "--deep",
    type=click.Choice(["auto", "never", "only"]),
    help="Train the last part of the backbone, too: auto (later, where it proves better), never, only (now).",
)
@click.option(
    "--keep-examples/--no-keep-examples",
    default=None,
    help="no: delete the head's examples and their embeddings once the version is live.",
)
@click.option("--deploy", type=click.Choice(["auto", "manual"]), help="manual: make a version without serving it.")
@click.option("--skip-errors", is_flag=True, help="Leave out inputs that cannot be read or have two labels.")
@click.option("--root", default="", help="The folder inside PATH in which the classes or splits begin.")
@click.option("--archive-encoding", help="Of file names that are not UTF-8, in a zip or a folder: cp932, cp1252, …")
@click.option("--follow-links", is_flag=True, help="Follow links that lead out of a folder, too.")
@click.option("--no-wait", is_flag=True, help="Return when the job is accepted.")
@remote
def finetune(
    head: str, path: Path, server: str, raw: bool, no_wait: bool, root: str, archive_encoding: str | None,
    follow_links: bool, skip_errors: bool, **options: Any,
) -> None:  # fmt: skip
    """Teach HEAD from PATH: a folder with one folder a class, a zip of that, or a manifest (CSV, TSV, JSONL).

    A manifest names files in `file_name`, or has the texts themselves in `text`, and their labels in `label`.
    """
    from adapters.modalities import get
    from service.cli import display
    from service.client import LabeledInput
    from service.intake.datasets import names, screening

    encoding = None if archive_encoding is None else names.encoding(archive_encoding)
    with connect(server) as client:
        classes = frozenset[str]() if root else _classes(client, head, options["mode"])
        received = _read(classes, path, follow=follow_links, encoding=encoding, root=root, lenient=skip_errors)
        display.received(received.understood, screening.passed_over(received.passed_over))
        examples = [(item.example, item.data) for item in received.items]
        inputs = [LabeledInput(e.file_name, data, e.label, e.split, e.group) for e, data in examples]
        options |= {"on_error": "skip" if skip_errors else None, "received": screening.told(received)}
        kind = get(received.modality)
        with display.status(f"sending {len(inputs):,} {kind.NOUN}s", quiet=raw):
            job = client.finetune(head, inputs=inputs, field=kind.FIELD, **options)
        finish(client, job, raw, no_wait)


def _read(classes: frozenset[str] | None, path: Path, **how: Any) -> "Received":
    """What lies at a path, by the rules that the server has for archives. Raises InvalidInput and its kinds."""
    from service.intake.datasets import sources

    received = sources.from_path(path, classes=classes or frozenset(), **how)
    if classes is None and (around := received.understood.get("root")):
        raise click.ClickException(_UNSEEN.format(around.rstrip("/")))
    return received


def _classes(client: "Client", head: str, mode: str | None) -> frozenset[str] | None:
    """Those that the head has, which tell a class from a folder around classes; None where the key may not see them."""
    from service.client import ApiError

    if mode == "replace":
        return frozenset()
    try:
        return frozenset(client.head(head)["labels"])
    except ApiError as error:
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
            raise
        return frozenset() if error.status == HTTPStatus.NOT_FOUND else None


class Inputs(click.ParamType):
    """Files, or texts in quotation marks: what is no file and cannot be the name of one is a text."""

    name = "input"
    _PATH = re.compile(r"\S*[/\\]\S*|\S+\.[A-Za-z0-9]{1,5}")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """The path of a file that is there, else the text."""
        if isinstance(value, Path) or os.path.isfile(value):
            return Path(value)
        if self._PATH.fullmatch(value):
            self.fail(f"there is no file {value!r}; a text that looks like one goes with --text", param, ctx)
        return str(value)


def asked(inputs: tuple[Path | str, ...], texts: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """The client's arguments, and what answers call each input."""
    files = [one for one in inputs if isinstance(one, Path)]
    said = [one for one in inputs if isinstance(one, str)] + list(texts)
    if bool(files) == bool(said):
        raise click.UsageError("name files to ask about, or texts in quotation marks, not both" if files else
                               "name at least one file or text to ask about")  # fmt: skip
    from service.cli import display

    return (
        ({"inputs": files}, [display.path(file) for file in files])
        if files
        else ({"texts": said}, [_brief(text) for text in said])
    )


def _brief(text: str) -> str:
    """On one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"


@click.command()
@click.argument("head")
@click.argument("inputs", nargs=-1, type=Inputs())
@click.option("--text", "texts", multiple=True, help="A text to ask about; may be repeated.")
@click.option("--count", type=int, default=10, show_default=True)
@remote
def suggest(
    head: str, inputs: tuple[Path | str, ...], texts: tuple[str, ...], count: int, server: str, raw: bool
) -> None:
    """Which of many unlabeled INPUTS, files or texts, to label next for HEAD."""
    from service.cli import display

    sent, names = asked(inputs, texts)
    with connect(server) as client:
        answer = client.suggest(head, count=count, **sent)
    show(answer, raw, lambda a: display.suggestions(a, names))


@click.command()
@click.argument("head")
@click.argument("inputs", nargs=-1, type=Inputs())
@click.option("--text", "texts", multiple=True, help="A text to ask about; may be repeated.")
@click.option("--top-k", type=int, default=3, show_default=True)
@click.option("--skip-errors", is_flag=True, help="Answer for the inputs that can be read.")
@click.option("--coverage", type=float, help="Show a set of labels, too, that holds the truth this often: 0.9")
@click.option("--abstain", type=float, help="Mark answers to leave be, so that this share of the others is right: 0.95")
@remote
def predict(
    head: str, inputs: tuple[Path | str, ...], texts: tuple[str, ...], top_k: int, skip_errors: bool, server: str,
    raw: bool, **promises: Any,
) -> None:  # fmt: skip
    """Ask HEAD (name, name@3, name@canary; several with commas) about INPUTS: files, or texts in quotation marks."""
    from service.cli import display

    on_error = "skip" if skip_errors else "fail"
    sent, names = asked(inputs, texts)
    with connect(server) as client:
        answer = client.predict(head.split(","), top_k=top_k, on_error=on_error, **sent, **promises)
    show(answer, raw, lambda a: display.predictions(a, names))
