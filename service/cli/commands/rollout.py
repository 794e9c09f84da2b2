"""`espalier heads rollout`: try a version on live requests before it is live."""

from typing import Any

import click

from service.cli.options import connect, remote, show

MEASURES = ("errors", "disagreement", "novelty")


@click.group("rollout")
def rollout() -> None:
    """Try a version on a share of live requests, or beside them; let rules promote it or roll it back."""


@rollout.command("start")
@click.argument("head")
@click.argument("version", type=int)
@click.option("--mode", type=click.Choice(["canary", "shadow"]), default="canary", show_default=True)
@click.option("--weight", type=float, help="Share of requests; default 0.1, in the shadow 1.")
@click.option("--promote-when", metavar="RULE", help="Such as answers=500,disagreement=0.05. Default: never.")
@click.option("--roll-back-when", metavar="RULE", help="Such as answers=50,errors=0.02, which is the default; none.")
@click.option("--confidence", type=float, help="That no decision is wrong; default 0.95.")
@remote
def start(head: str, version: int, server: str, raw: bool, **options: Any) -> None:
    """Roll VERSION of HEAD out."""
    from service.cli.display import rollout

    limits = {name: _rule(options.pop(name)) for name in ("promote_when", "roll_back_when")}
    sent = {name: value for name, value in (options | limits).items() if value is not None}
    sent |= {name: None for name, value in limits.items() if value == {}}
    with connect(server) as client:
        show(client.start_rollout(head, version, **sent), raw, rollout.rollout)


@rollout.command("show")
@click.argument("head")
@remote
def look(head: str, server: str, raw: bool) -> None:
    """What was counted of the last roll-out of HEAD, how sure that is, and what was decided."""
    from service.cli.display import rollout

    with connect(server) as client:
        show(client.rollout(head), raw, rollout.rollout)


@rollout.command("stop")
@click.argument("head")
@remote
def stop(head: str, server: str, raw: bool) -> None:
    """End the roll-out of HEAD: live answers everything again."""
    with connect(server) as client:
        client.stop_rollout(head)
    show({"stopped": head}, raw, lambda _: click.echo(f"{head}: the live version answers everything"))


def _rule(text: str | None) -> dict[str, float] | None:
    """`answers=500,errors=0.01` → limits by measure; `none` → {}."""
    if text is None or text == "none":
        return None if text is None else {}
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            found[name.strip()] = int(number) if name.strip() == "answers" else float(number)
        except ValueError:
            said = f"{part!r} is not of the form answers=500 or one of {', '.join(MEASURES)} with a share"
            raise click.ClickException(said) from None
    return found
