"""`espalier heads`: what heads there are, their versions and figures."""

from pathlib import Path
from typing import Any

import click

from service.cli.options import Listing, connect, remote, show


@click.group(cls=Listing)
def heads() -> None:
    """List heads, look at one, promote a version, delete; change examples, classes and backbone of one."""


@heads.command("list")
@remote
def heads_list(server: str, raw: bool) -> None:
    """All heads."""
    from service.cli import display

    with connect(server) as client:
        show(client.heads(), raw, display.heads)


@heads.command("show")
@click.argument("head")
@remote
def heads_show(head: str, server: str, raw: bool) -> None:
    """Versions, aliases and figures of HEAD."""
    from service.cli import display

    with connect(server) as client:
        show(client.head(head), raw, display.head)


@heads.command("report")
@click.argument("head")
@click.option("--version", type=int, help="Default: the live one.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write it as a page to this file.")
@remote
def heads_report(head: str, version: int | None, html: Path | None, server: str, raw: bool) -> None:
    """How far to trust HEAD: figures, suspected labels, whether more examples would help."""
    from service.cli import display

    with connect(server) as client:
        if html is not None:
            html.write_text(client.report_page(head, version), encoding="utf-8")
            show({"written": str(html)}, raw, lambda _: click.echo(f"wrote {html}"))
        else:
            show(client.report(head, version), raw, display.report)


@heads.command("drift")
@click.argument("head")
@click.option("--version", type=int, help="Default: the live one.")
@click.option("--hours", type=int, default=24, show_default=True, help="To look at, the present one included.")
@remote
def heads_drift(head: str, version: int | None, hours: int, server: str, raw: bool) -> None:
    """What HEAD is asked lately against what it was taught."""
    from service.cli.display import drift

    with connect(server) as client:
        show(client.drift(head, version, hours=hours), raw, drift.drift)


@heads.command("promote")
@click.argument("head")
@click.argument("version", type=int)
@click.option("--alias", default="live", show_default=True)
@click.option("--everywhere", is_flag=True, help="Return once every serving process answers with it.")
@remote
def heads_promote(head: str, version: int, alias: str, everywhere: bool, server: str, raw: bool) -> None:
    """Point an alias of HEAD at VERSION: promote it, or roll back."""
    with connect(server) as client:
        moved = client.set_alias(head, alias, version, everywhere=everywhere)
    show(moved, raw, lambda a: click.echo(f"{head}@{alias} is version {a['version']}{_where(a)}"))


def _where(moved: dict[str, Any]) -> str:
    """On how many serving processes, where that was asked."""
    told = moved.get("replicas")
    return f" on {told['serving']} of {told['living']} serving processes" if told else ""


@heads.command("delete")
@click.argument("head")
@click.option("--version", type=int, help="Only this version.")
@remote
def heads_delete(head: str, version: int | None, server: str, raw: bool) -> None:
    """Delete HEAD with its versions and examples, or one version."""
    with connect(server) as client:
        if version is None:
            client.delete_head(head)
        else:
            client.delete_version(head, version)
    show({"deleted": head, "version": version}, raw, lambda _: click.echo(f"deleted {head}"))


@heads.command("examples")
@click.argument("head")
@click.option("--label", help="Only those of this class.")
@click.option("--suspected", is_flag=True, help="Only those whose label the newest report finds wrong.")
@click.option("--split", type=click.Choice(["train", "val", "test", "none"]), help="Only those of this part.")
@remote
def heads_examples(head: str, label: str | None, split: str | None, suspected: bool, server: str, raw: bool) -> None:
    """The examples that HEAD holds."""
    from service.cli import display

    with connect(server) as client:
        show(list(client.examples(head, label=label, split=split, suspected=suspected)), raw, display.examples)


@heads.command("compare")
@click.argument("head")
@click.argument("a")
@click.argument("b")
@click.option("--limit", type=int, default=20, show_default=True, help="Most changed answers to list.")
@remote
def heads_compare(head: str, a: str, b: str, limit: int, server: str, raw: bool) -> None:
    """Versions A and B of HEAD (or aliases) on held-out examples that neither learned from."""
    from service.cli import display

    with connect(server) as client:
        show(client.compare(head, a, b, limit=limit), raw, display.comparison)
