"""`espalier heads relabel … rebuild`: what makes a new version of a head without new examples."""

from typing import TYPE_CHECKING, Any

import click

from service.cli.options import assignments, changing

if TYPE_CHECKING:
    from service.client import Client


@click.command("relabel")
@click.argument("head")
@click.argument("labels", nargs=-1, required=True, metavar="SHA256=LABEL...")
@changing
def relabel(head: str, labels: tuple[str, ...], client: "Client") -> Any:
    """Correct the labels of examples of HEAD."""
    return client.relabel(head, assignments(labels))


@click.command("forget")
@click.argument("head")
@click.argument("sha256s", nargs=-1, required=True, metavar="SHA256...")
@changing
def forget(head: str, sha256s: tuple[str, ...], client: "Client") -> Any:
    """Unlearn examples of HEAD; versions that were trained on them are deleted."""
    return client.forget(head, sha256s)


@click.command("rename")
@click.argument("head")
@click.argument("names", nargs=-1, required=True, metavar="OLD=NEW...")
@changing
def rename(head: str, names: tuple[str, ...], client: "Client") -> Any:
    """Give classes of HEAD other names; the weights stay."""
    return client.rename_labels(head, assignments(names))


@click.command("merge")
@click.argument("head")
@click.argument("into")
@click.argument("labels", nargs=-1, required=True)
@changing
def merge(head: str, into: str, labels: tuple[str, ...], client: "Client") -> Any:
    """Make the classes LABELS of HEAD one, called INTO."""
    return client.merge_labels(head, into, labels)


@click.command("drop")
@click.argument("head")
@click.argument("labels", nargs=-1, required=True)
@changing
def drop(head: str, labels: tuple[str, ...], client: "Client") -> Any:
    """Drop the classes LABELS of HEAD, with their examples."""
    return client.drop_labels(head, labels)


@click.command("rebuild")
@click.argument("head")
@click.argument("backbone")
@click.option("--deploy", type=click.Choice(["auto", "manual"]), default="auto", show_default=True)
@changing
def rebuild(head: str, backbone: str, deploy: str, client: "Client") -> Any:
    """Train HEAD from its stored examples on BACKBONE."""
    return client.rebuild(head, backbone, deploy=deploy)
