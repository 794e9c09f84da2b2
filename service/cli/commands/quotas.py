"""`espalier quotas`: what tenants and keys may have and ask; on the database of this machine, as its operator."""

from typing import Any

import click

from service.cli.options import Listing, as_json, assignments, readable, show


@click.group(cls=Listing)
def quotas() -> None:
    """List what is set for tenants and keys, or set it."""


@quotas.command("list")
@as_json
@readable
def quotas_list(raw: bool) -> None:
    """The defaults of each tenant, and all that differs."""
    from adapters.store.quotas import limits
    from service.cli.machine import parts
    from service.quotas import accepting
    from service.quotas.schemas import LimitsView, QuotaList, QuotaView

    settings, engine, _ = parts()
    book = limits.load(engine, accepting.default(settings))
    found = [QuotaView.of(book, *at) for at in sorted(book.overrides)]
    answer = QuotaList(default=LimitsView.of(book.default), quotas=found).model_dump(mode="json")
    show(answer, raw, _draw)


@quotas.command("set")
@click.argument("tenant")
@click.argument("values", nargs=-1, required=True, metavar="QUOTA=VALUE...")
@click.option("--key", default="", help="Id of one key of TENANT; by default all of them together.")
@as_json
@readable
def quotas_set(tenant: str, values: tuple[str, ...], key: str, raw: bool) -> None:
    """Set QUOTA (heads, examples, bytes, jobs, requests_per_second, inputs_per_second) of TENANT to a number, to
    `unlimited`, or to `default`. The default tenant is ''."""
    from adapters.store.quotas import limits
    from service.cli.machine import parts
    from service.quotas import accepting
    from service.quotas.schemas import QuotaView

    settings, engine, _ = parts()
    accepting.put(engine, tenant, key, assignments(values))
    view = QuotaView.of(limits.load(engine, accepting.default(settings)), tenant, key).model_dump(mode="json")
    show(view, raw, lambda answer: click.echo(_line(answer)))


def _draw(answer: dict[str, Any]) -> None:
    default = _words(answer["default"])
    click.echo(f"each tenant, where nothing else is said: {default}")
    for row in answer["quotas"]:
        click.echo(_line(row))


def _line(answer: dict[str, Any]) -> str:
    whose = f"key {answer['key']} of " if answer["key"] else ""
    return f"{whose}tenant {answer['tenant'] or '(default)'}: {_words(answer['limits'])}"


def _words(limits: dict[str, float | None]) -> str:
    found = [f"{name} {value:,.15g}" for name, value in limits.items() if value is not None]
    return ", ".join(found) or "nothing is limited"
