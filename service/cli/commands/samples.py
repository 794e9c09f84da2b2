"""`espalier samples`: hard inputs of a head, kept for labeling where that is switched on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli.options import assignments, changing, connect, remote, show

if TYPE_CHECKING:
    from service.client import Client


@click.group()
def samples() -> None:
    """Keep inputs that a head finds hard, look at them, label them."""


@samples.command("on")
@click.argument("head")
@click.option("--keep", type=int, help="Samples at most; default 200.")
@click.option("--days", type=float, help="That one is kept; default 30.")
@remote
def switch_on(head: str, server: str, raw: bool, **options: Any) -> None:
    """Keep hard inputs of HEAD from now on."""
    from service.cli.display import sampling

    sent = {name: value for name, value in options.items() if value is not None}
    with connect(server) as client:
        show(client.set_sampling(head, True, **sent), raw, sampling.switch)


@samples.command("off")
@click.argument("head")
@remote
def switch_off(head: str, server: str, raw: bool) -> None:
    """Keep nothing more of HEAD, and delete what was kept."""
    from service.cli.display import sampling

    with connect(server) as client:
        show(client.set_sampling(head, False), raw, sampling.switch)


@samples.command("show")
@click.argument("head")
@remote
def status(head: str, server: str, raw: bool) -> None:
    """Whether hard inputs of HEAD are kept, and how many there are."""
    from service.cli.display import sampling

    with connect(server) as client:
        show(client.sampling(head), raw, sampling.switch)


@samples.command("list")
@click.argument("head")
@click.option(
    "--inputs",
    "--images",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the inputs to this folder, too.",
)
@remote
def listed(head: str, folder: Path | None, server: str, raw: bool) -> None:
    """What is kept of HEAD, the hardest first."""
    from service.cli.display import sampling

    with connect(server) as client:
        found = list(client.samples(head))
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for one in found:
                (folder / one["sha256"]).write_bytes(client.sample(head, one["sha256"]))
    show(found, raw, sampling.samples)


@samples.command("label")
@click.argument("head")
@click.argument("labels", nargs=-1, required=True, metavar="SHA256=LABEL...")
@changing
def label(head: str, labels: tuple[str, ...], client: "Client") -> Any:
    """Teach HEAD samples under their right labels."""
    return client.label_samples(head, assignments(labels))


@samples.command("delete")
@click.argument("head")
@click.argument("sha256s", nargs=-1, metavar="SHA256...")
@click.option("--all", "everything", is_flag=True, help="All samples of HEAD.")
@remote
def delete(head: str, sha256s: tuple[str, ...], everything: bool, server: str, raw: bool) -> None:
    """Forget samples of HEAD."""
    if everything == bool(sha256s):
        raise click.ClickException("name samples by their SHA-256, or say --all")
    with connect(server) as client:
        for sha256 in sha256s or (None,):
            client.delete_samples(head, sha256)
    what = "all" if everything else list(sha256s)
    show({"deleted": what}, raw, lambda _: click.echo(f"{head}: deleted {'all' if everything else len(sha256s)}"))
