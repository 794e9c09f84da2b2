"""`espalier keys`: who may ask. It works on the database of this machine, as its operator: without server and key."""

from typing import TYPE_CHECKING, Any

import click

from service.cli.options import Listing, as_json, readable, show

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from service.settings import Settings


@click.group(cls=Listing)
def keys() -> None:
    """List API keys, make one, put another in its place, end it."""


@keys.command("list")
@click.option("--tenant", help="Only this tenant's.")
@as_json
@readable
def keys_list(tenant: str | None, raw: bool) -> None:
    """All keys, without their secrets."""
    from adapters.store.access import keys as store
    from service.access.keys.schemas import KeyView
    from service.cli import display

    _, engine = _opened()
    found = [KeyView.of(key).model_dump(mode="json") for key in store.every(engine, tenant)]
    show(found, raw, display.keys)


@keys.command("create")
@click.option("--name", default="unnamed", show_default=True, help="For people.")
@click.option("--tenant", default="", help="Whose key it is; by default the default tenant's.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="VERB[:HEADS]",
    help="predict, read, teach, manage, metrics or admin; repeat it. `predict:door-*` is for some heads.",
)
@click.option("--days", type=float, help="Days until it ends; by default it does not.")
@as_json
@readable
def keys_create(name: str, tenant: str, scopes: tuple[str, ...], days: float | None, raw: bool) -> None:  # fmt: skip
    """Make a key and print it: once, it is kept nowhere."""
    from service.access.keys import administration

    settings, engine = _opened()
    made = administration.create(
        engine, settings.pepper(), tenant=tenant, name=name, scopes=list(scopes), days=days
    )  # fmt: skip
    _show_new(made, raw)


@keys.command("rotate")
@click.argument("key_id")
@click.option("--overlap", type=float, default=3600.0, show_default=True, help="Seconds that the old one is good.")
@as_json
@readable
def keys_rotate(key_id: str, overlap: float, raw: bool) -> None:
    """Make another key in the place of KEY_ID and print it."""
    from adapters.store.access import keys as store
    from service.access.keys import administration

    settings, engine = _opened()
    _show_new(administration.rotate(engine, settings.pepper(), store.find(engine, key_id), overlap), raw)


@keys.command("revoke")
@click.argument("key_id")
@as_json
@readable
def keys_revoke(key_id: str, raw: bool) -> None:
    """End KEY_ID: running services refuse it within ESPALIER_POLL_SECONDS."""
    from adapters.store.access import keys as store
    from service.access.keys.schemas import KeyView

    _, engine = _opened()
    ended = KeyView.of(store.revoke(engine, key_id)).model_dump(mode="json")
    show(ended, raw, lambda _: click.echo(f"revoked {key_id}"))


def _show_new(made: tuple[Any, str], raw: bool) -> None:
    from service.access.keys.schemas import NewKey

    key, text = made
    answer = NewKey.made(key, text).model_dump(mode="json")
    show(answer, raw, lambda _: click.echo(text))
    if not raw:
        click.echo(f"{key.id}: tenant {key.tenant or 'default'}, {', '.join(key.scopes)}; not shown again", err=True)


def _opened() -> "tuple[Settings, Engine]":
    from service.cli.machine import parts

    settings, engine, _ = parts()
    return settings, engine
