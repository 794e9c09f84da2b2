"""`espalier finetune`, `suggest` and `predict`: teaching a head and asking it."""

from pathlib import Path
from typing import Any

import click

from service.cli.options import connect, finish, remote, show


@click.command()
@click.argument("head")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--task", help="classification (default), multilabel, regression; a head keeps its own.")
@click.option("--method", help="auto (default), gda, logistic, mlp, prototype, ridge")
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
@click.option("--deploy", type=click.Choice(["auto", "manual"]), help="manual: make a version without serving it.")
@click.option("--skip-errors", is_flag=True, help="Leave out images that cannot be read or have two labels.")
@click.option("--root", default="", help="The folder inside PATH in which the classes or splits begin.")
@click.option("--archive-encoding", help="Of file names that are not UTF-8, in a zip or a folder: cp932, cp1252, …")
@click.option("--follow-links", is_flag=True, help="Follow links that lead out of a folder, too.")
@click.option("--no-wait", is_flag=True, help="Return when the job is accepted.")
@remote
def finetune(
    head: str, path: Path, server: str, raw: bool, no_wait: bool, root: str, archive_encoding: str | None,
    follow_links: bool, skip_errors: bool, **options: Any,
) -> None:  # fmt: skip
    """Teach HEAD from PATH: a folder with one folder a class, a zip of that, or a manifest (CSV, TSV, JSONL)."""
    from service.cli import display
    from service.client import LabeledImage
    from service.intake.datasets import names, screening, sources

    encoding = None if archive_encoding is None else names.encoding(archive_encoding)
    received = sources.from_path(path, follow=follow_links, encoding=encoding, root=root, lenient=skip_errors)
    display.received(received.understood, screening.passed_over(received.passed_over))
    examples = [(item.example, item.data) for item in received.items]
    images = [LabeledImage(e.file_name, data, e.label, e.split, e.group) for e, data in examples]
    options["on_error"] = "skip" if skip_errors else None
    with connect(server) as client:
        with display.status(f"sending {len(images):,} images", quiet=raw):
            job = client.finetune(head, images, **options)
        finish(client, job, raw, no_wait)


@click.command()
@click.argument("head")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--count", type=int, default=10, show_default=True)
@remote
def suggest(head: str, images: tuple[Path, ...], count: int, server: str, raw: bool) -> None:
    """Which of many unlabeled IMAGEs to label next for HEAD."""
    from service.cli import display

    with connect(server) as client:
        answer = client.suggest(head, images, count=count)
    show(answer, raw, lambda a: display.suggestions(a, [display.path(i) for i in images]))


@click.command()
@click.argument("head")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--top-k", type=int, default=3, show_default=True)
@click.option("--skip-errors", is_flag=True, help="Answer for the images that can be read.")
@click.option("--coverage", type=float, help="Show a set of labels, too, that holds the truth this often: 0.9")
@click.option("--abstain", type=float, help="Mark answers to leave be, so that this share of the others is right: 0.95")
@remote
def predict(
    head: str, images: tuple[Path, ...], top_k: int, skip_errors: bool, server: str, raw: bool, **promises: float | None
) -> None:
    """Ask HEAD (name, name@3, name@canary; several with commas) about IMAGEs."""
    from service.cli import display

    on_error = "skip" if skip_errors else "fail"
    with connect(server) as client:
        answer = client.predict(head.split(","), images, top_k=top_k, on_error=on_error, **promises)
    show(answer, raw, lambda a: display.predictions(a, [display.path(i) for i in images]))
