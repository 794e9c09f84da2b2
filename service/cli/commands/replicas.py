"""`espalier replicas`: the serving processes that live."""

import click

from service.cli.options import connect, remote, show


@click.command()
@remote
def replicas(server: str, raw: bool) -> None:
    """The serving processes that live, and which state of the heads each of them serves."""
    from service.cli import display

    with connect(server) as client:
        show(client.replicas(), raw, display.replicas)
