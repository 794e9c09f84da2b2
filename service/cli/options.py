"""What commands share: options, errors as sentences, an answer as tables or as JSON."""

import json
import os
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from adapters.errors import EspalierError

if TYPE_CHECKING:
    from service.client import Client

Command = Callable[..., Any]


def remote(command: Command) -> Command:
    """Options of every command that asks a server."""
    from service.client import DEFAULT_URL

    @wraps(command)
    def run(*arguments: Any, key: str | None, **options: Any) -> Any:
        if key:
            os.environ["ESPALIER_KEY"] = key  # where the client looks for one
        return command(*arguments, **options)

    url = click.option("--server", metavar="URL", default=DEFAULT_URL, envvar="ESPALIER_SERVER", show_default=True)
    secret = click.option("--key", metavar="KEY", envvar="ESPALIER_KEY", help="API key, where the server asks for one.")
    return url(secret(as_json(readable(run))))


def as_json(command: Command) -> Command:
    """--json: what the API said, for programs."""
    return click.option("--json", "raw", is_flag=True, help="Print JSON instead of tables.")(command)


def changing(command: Command) -> Command:
    """What commands share that change a head: each answers with a job, which is followed to its end."""

    @click.option("--no-wait", is_flag=True, help="Return when the job is accepted.")
    @remote
    @wraps(command)
    def run(*arguments: Any, server: str, raw: bool, no_wait: bool, **options: Any) -> None:
        with connect(server) as client:
            finish(client, command(*arguments, client=client, **options), raw, no_wait)

    return run


def finish(client: "Client", job: dict[str, Any], raw: bool, no_wait: bool) -> None:
    """Follow a job to its end, unless nobody waits for it, and show it; exit code 1 where it made no version."""
    from service.cli import display

    if not no_wait:
        display.follow(client, job["id"], quiet=raw)
        job = client.job(job["id"])
    show(job, raw, display.job)
    if job["status"] in ("failed", "rejected", "cancelled"):
        raise SystemExit(1)


def readable(command: Command) -> Command:
    """Errors as one sentence and exit code 1, never a stack trace."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        import httpx

        from service.client import ApiError

        try:
            return command(*arguments, **options)
        except ApiError as error:
            rows = [_row(problem["item"], problem["detail"]) for problem in error.errors]
            raise click.ClickException(_with_others(f"{error} [{error.code}]", rows, error.error_count)) from None
        except EspalierError as error:
            rows = [_row(problem.item, problem.detail) for problem in error.errors]
            raise click.ClickException(_with_others(error.message, rows, error.error_count)) from None
        except httpx.TransportError as error:
            where = options.get("server", "the server")
            raise click.ClickException(f"{where} does not answer ({error}); start one with: espalier serve") from None

    return run


def _row(item: str | None, detail: str) -> str:
    """What is wrong with one item, which most details begin with."""
    return detail if item is None or detail.startswith(f"{item}:") else f"{item}: {detail}"


def _with_others(message: str, rows: list[str], count: int) -> str:
    """An error and, where several items are at fault, a line for each that is listed."""
    if count < 2:
        return message
    left = [f"  and {count - len(rows)} more"] if count > len(rows) else []
    return "\n".join([message, *(f"  {row}" for row in rows), *left])


class Listing(click.Group):
    """A group that lists when it is not told what else to do: `espalier heads`, `espalier heads --json`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        wants_help = bool(args) and args[0] in ("-h", "--help")
        if not wants_help and (not args or args[0].startswith("-")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def connect(server: str) -> "Client":
    """A client of a server."""
    from service.client import Client

    return Client(server)


def show(answer: Any, raw: bool, draw: Callable[[Any], Any]) -> None:
    """Print an answer as it came (`raw`), or as `draw` has it for people."""
    if raw:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        draw(answer)


def assignments(pairs: tuple[str, ...]) -> dict[str, str]:
    """`old=new` pairs as a dictionary; a label may hold further signs of equality."""
    for text in pairs:
        if not all(text.partition("=")):
            raise click.ClickException(f"{text!r} is not of the form OLD=NEW")
    return {text.partition("=")[0]: text.partition("=")[2] for text in pairs}
