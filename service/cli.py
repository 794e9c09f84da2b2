"""The `espalier` command: talks to a server over HTTP, but for what works on the machine itself (init … backbones)."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.errors import EspalierError
from service import __version__

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from adapters.store.artifacts import Artifacts
    from service.client import Client
    from service.settings import Settings

Command = Callable[..., Any]
# Imports of the heavy parts stay inside the commands: `espalier predict` must not wait for a database driver.


def remote(command: Command) -> Command:
    """Options of every command that asks a server."""
    from service.client import DEFAULT_URL

    url = click.option("--server", metavar="URL", default=DEFAULT_URL, envvar="ESPALIER_SERVER", show_default=True)
    return url(as_json(_readable(command)))


def as_json(command: Command) -> Command:
    """--json: what the API said, for programs."""
    return click.option("--json", "raw", is_flag=True, help="Print JSON instead of tables.")(command)


def changing(command: Command) -> Command:
    """What commands share that change a head: each answers with a job, which is followed to its end."""

    @click.option("--no-wait", is_flag=True, help="Return when the job is accepted.")
    @remote
    @wraps(command)
    def run(*arguments: Any, server: str, raw: bool, no_wait: bool, **options: Any) -> None:
        from service import display

        with _client(server) as client:
            job = command(*arguments, client=client, **options)
            if not no_wait:
                display.follow(client, job["id"], quiet=raw)
                job = client.job(job["id"])
        _show(job, raw, display.job)
        if job["status"] in ("failed", "rejected", "cancelled"):
            raise SystemExit(1)

    return run


def _readable(command: Command) -> Command:
    """Errors as one sentence and exit code 1, never a stack trace."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        import httpx

        from service.client import ApiError

        try:
            return command(*arguments, **options)
        except ApiError as error:
            raise click.ClickException(f"{error} [{error.code}]") from None
        except EspalierError as error:
            raise click.ClickException(error.message) from None
        except httpx.TransportError as error:
            where = options.get("server", "the server")
            raise click.ClickException(f"{where} does not answer ({error}); start one with: espalier serve") from None

    return run


class Listing(click.Group):
    """A group that lists when it is not told what else to do: `espalier heads`, `espalier heads --json`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        wants_help = bool(args) and args[0] in ("-h", "--help")
        if not wants_help and (not args or args[0].startswith("-")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def main() -> None:
    """Teach a frozen vision backbone a new task in seconds, and serve it at once."""


@main.command()
@_readable
def init() -> None:
    """Make ESPALIER_HOME usable: tables, the embedded backbone, the list of methods. `serve` does it when needed."""
    from service import setup, telemetry

    settings, engine, artifacts = _parts()
    telemetry.configure_logging(settings.log_level)
    setup.prepare(settings, engine, artifacts)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=3000, show_default=True)
@_readable
def serve(host: str, port: int) -> None:
    """Run the service and a training worker, and restart either when it dies. Ctrl-C ends both."""
    from service import setup, supervisor, telemetry

    settings, engine, _ = _parts()
    telemetry.configure_logging(settings.log_level)
    if not setup.is_done(settings, engine):
        subprocess.run([sys.executable, "-m", "service.cli", "init"], check=True)
    engine.dispose()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    click.echo(f"Espalier {__version__}: http://{host}:{port} (API at /docs), data in {settings.home.absolute()}")
    children = [supervisor.Child(name, command) for name, command in supervisor.commands(host, port).items()]
    supervisor.run(children, stop)


@main.command()
@_readable
def worker() -> None:
    """Run a training worker: as many as you like on Postgres, one on SQLite."""
    # Before torch loads its OpenMP, whose idle threads spin: beside a busy server one race took 28 s, with one thread
    # 1.6. So torch gets half of the cores; the other half is the server's.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // 2)))
    from service import worker as process
    from service.settings import Settings

    process.main(Settings())


@main.command()
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
@click.option("--budget", type=float, help="Seconds that the race of methods may take; more tries more candidates.")
@click.option("--deploy", type=click.Choice(["auto", "manual"]), help="manual: make a version without serving it.")
@click.option("--no-wait", is_flag=True, help="Return when the job is accepted.")
@remote
def finetune(head: str, path: Path, server: str, raw: bool, no_wait: bool, **options: Any) -> None:
    """Teach HEAD from PATH: a folder with one folder a class, a zip of that, or a manifest (CSV, JSONL)."""
    from service import datasets, display
    from service.client import LabeledImage

    items = datasets.from_path(path)
    images = [
        LabeledImage(i.example.file_name, i.data, i.example.label, i.example.split, i.example.group) for i in items
    ]
    with _client(server) as client:
        with display.status(f"sending {len(images):,} images", quiet=raw):
            job = client.finetune(head, images, **options)
        if not no_wait:
            display.follow(client, job["id"], quiet=raw)
            job = client.job(job["id"])
    _show(job, raw, display.job)
    if job["status"] in ("failed", "rejected", "cancelled"):
        raise SystemExit(1)


@main.command()
@click.argument("head")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--count", type=int, default=10, show_default=True)
@remote
def suggest(head: str, images: tuple[Path, ...], count: int, server: str, raw: bool) -> None:
    """Which of many unlabeled IMAGEs to label next for HEAD."""
    from service import display

    with _client(server) as client:
        answer = client.suggest(head, images, count=count)
    _show(answer, raw, lambda a: display.suggestions(a, [str(i) for i in images]))


@main.command()
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
    from service import display

    on_error = "skip" if skip_errors else "fail"
    with _client(server) as client:
        answer = client.predict(head.split(","), images, top_k=top_k, on_error=on_error, **promises)
    _show(answer, raw, lambda a: display.predictions(a, [str(i) for i in images]))


@main.group(cls=Listing)
def heads() -> None:
    """List heads, look at one, promote a version, delete; change examples, classes and backbone of one."""


@heads.command("list")
@remote
def heads_list(server: str, raw: bool) -> None:
    """All heads."""
    from service import display

    with _client(server) as client:
        _show(client.heads(), raw, display.heads)


@heads.command("show")
@click.argument("head")
@remote
def heads_show(head: str, server: str, raw: bool) -> None:
    """Versions, aliases and figures of HEAD."""
    from service import display

    with _client(server) as client:
        _show(client.head(head), raw, display.head)


@heads.command("report")
@click.argument("head")
@click.option("--version", type=int, help="Default: the live one.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write it as a page to this file.")
@remote
def heads_report(head: str, version: int | None, html: Path | None, server: str, raw: bool) -> None:
    """How far to trust HEAD: figures, suspected labels, whether more images would help."""
    from service import display

    with _client(server) as client:
        if html is not None:
            html.write_text(client.report_page(head, version), encoding="utf-8")
            _show({"written": str(html)}, raw, lambda _: click.echo(f"wrote {html}"))
        else:
            _show(client.report(head, version), raw, display.report)


@heads.command("promote")
@click.argument("head")
@click.argument("version", type=int)
@click.option("--alias", default="live", show_default=True)
@remote
def heads_promote(head: str, version: int, alias: str, server: str, raw: bool) -> None:
    """Point an alias of HEAD at VERSION: promote it, or roll back."""
    with _client(server) as client:
        _show(
            client.set_alias(head, alias, version),
            raw,
            lambda a: click.echo(f"{head}@{alias} is version {a['version']}"),
        )


@heads.command("delete")
@click.argument("head")
@click.option("--version", type=int, help="Only this version.")
@remote
def heads_delete(head: str, version: int | None, server: str, raw: bool) -> None:
    """Delete HEAD with its versions and examples, or one version."""
    with _client(server) as client:
        if version is None:
            client.delete_head(head)
        else:
            client.delete_version(head, version)
    _show({"deleted": head, "version": version}, raw, lambda _: click.echo(f"deleted {head}"))


@heads.command("examples")
@click.argument("head")
@click.option("--label", help="Only those of this class.")
@click.option("--suspected", is_flag=True, help="Only those whose label the newest report finds wrong.")
@click.option("--split", type=click.Choice(["train", "val", "test", "none"]), help="Only those of this part.")
@remote
def heads_examples(head: str, label: str | None, split: str | None, suspected: bool, server: str, raw: bool) -> None:
    """The examples that HEAD holds."""
    from service import display

    with _client(server) as client:
        _show(list(client.examples(head, label=label, split=split, suspected=suspected)), raw, display.examples)


@heads.command("relabel")
@click.argument("head")
@click.argument("labels", nargs=-1, required=True, metavar="SHA256=LABEL...")
@changing
def heads_relabel(head: str, labels: tuple[str, ...], client: "Client") -> Any:
    """Correct the labels of examples of HEAD."""
    return client.relabel(head, _assignments(labels))


@heads.command("forget")
@click.argument("head")
@click.argument("sha256s", nargs=-1, required=True, metavar="SHA256...")
@changing
def heads_forget(head: str, sha256s: tuple[str, ...], client: "Client") -> Any:
    """Unlearn examples of HEAD; versions that were trained on them are deleted."""
    return client.forget(head, sha256s)


@heads.command("rename")
@click.argument("head")
@click.argument("names", nargs=-1, required=True, metavar="OLD=NEW...")
@changing
def heads_rename(head: str, names: tuple[str, ...], client: "Client") -> Any:
    """Give classes of HEAD other names; the weights stay."""
    return client.rename_labels(head, _assignments(names))


@heads.command("merge")
@click.argument("head")
@click.argument("into")
@click.argument("labels", nargs=-1, required=True)
@changing
def heads_merge(head: str, into: str, labels: tuple[str, ...], client: "Client") -> Any:
    """Make the classes LABELS of HEAD one, called INTO."""
    return client.merge_labels(head, into, labels)


@heads.command("drop")
@click.argument("head")
@click.argument("labels", nargs=-1, required=True)
@changing
def heads_drop(head: str, labels: tuple[str, ...], client: "Client") -> Any:
    """Drop the classes LABELS of HEAD, with their examples."""
    return client.drop_labels(head, labels)


@heads.command("rebuild")
@click.argument("head")
@click.argument("backbone")
@click.option("--deploy", type=click.Choice(["auto", "manual"]), default="auto", show_default=True)
@changing
def heads_rebuild(head: str, backbone: str, deploy: str, client: "Client") -> Any:
    """Train HEAD from its stored examples on BACKBONE."""
    return client.rebuild(head, backbone, deploy=deploy)


@heads.command("compare")
@click.argument("head")
@click.argument("a")
@click.argument("b")
@click.option("--limit", type=int, default=20, show_default=True, help="Most changed answers to list.")
@remote
def heads_compare(head: str, a: str, b: str, limit: int, server: str, raw: bool) -> None:
    """Versions A and B of HEAD (or aliases) on held-out examples that neither learned from."""
    from service import display

    with _client(server) as client:
        _show(client.compare(head, a, b, limit=limit), raw, display.comparison)


@main.group(cls=Listing)
def jobs() -> None:
    """List jobs, look at one, cancel one."""


@jobs.command("list")
@click.option("--head")
@click.option("--status")
@click.option("--limit", type=int, default=20, show_default=True)
@remote
def jobs_list(head: str | None, status: str | None, limit: int, server: str, raw: bool) -> None:
    """Jobs, newest first."""
    from service import display

    with _client(server) as client:
        _show(client.jobs(head=head, status=status, limit=limit), raw, display.jobs)


@jobs.command("show")
@click.argument("job_id")
@remote
def jobs_show(job_id: str, server: str, raw: bool) -> None:
    """Figures and report of a job."""
    from service import display

    with _client(server) as client:
        _show(client.job(job_id), raw, display.job)


@jobs.command("cancel")
@click.argument("job_id")
@remote
def jobs_cancel(job_id: str, server: str, raw: bool) -> None:
    """Stop a job."""
    with _client(server) as client:
        _show(client.cancel(job_id), raw, lambda job: click.echo(f"{job['id']} is {job['status']}"))


@main.group(cls=Listing)
def backbones() -> None:
    """List, add, quantize, show, export and remove backbones of this machine's ESPALIER_HOME (or its database URL)."""


@backbones.command("list")
@as_json
@_readable
def backbones_list(raw: bool) -> None:
    """All backbones."""
    from adapters.store import backbones as store
    from service import display

    _show([_facts(b) for b in store.list_all(_parts()[1])], raw, display.backbones)


@backbones.command("show")
@click.argument("name")
@as_json
@_readable
def backbones_show(name: str, raw: bool) -> None:
    """Everything known of a backbone."""
    from adapters.store import backbones as store
    from service import display

    _show(_facts(store.find(_parts()[1], name)), raw, display.facts)


@backbones.command("add")
@click.argument("timm_name", metavar="NAME")
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@click.option("--weights", help="A .safetensors or .pth file, or `random`; without it timm fetches them from the hub.")
@click.option("--name", help="What to call it here; default: NAME.")
@as_json
@_readable
def backbones_add(timm_name: str, options: tuple[str, ...], weights: str | None, name: str | None, raw: bool) -> None:
    """Build the timm model NAME (hf-hub: names too) as a backbone. Options: size, mean, std, crop_pct, interpolation,
    or any of timm.create_model."""
    from adapters.backbones.cards import card_from_options, embedded, embedded_card
    from adapters.training.backbone import build
    from service import display

    pairs = dict(_pair(text) for text in options)
    if timm_name in embedded() and not (pairs or weights or name):
        card = embedded_card(timm_name)
    else:
        card = card_from_options(name or timm_name.rpartition("/")[2], timm_name, weights, pairs)
    _, engine, artifacts = _parts()
    _show(_facts(build(card, engine, artifacts)), raw, display.facts)


@backbones.command("quantize")
@click.argument("name")
@click.option("--precision", default="int8", show_default=True, help="int8 for CPUs, fp16 for GPUs.")
@click.option(
    "--calibrate",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Images like those that will be asked about; default: crops of two sample photos.",
)
@click.option("--name", "alias", help="What to call it here; default: NAME-PRECISION.")
@click.option("--force", is_flag=True, help="Keep it even if its embeddings are too far from fp32.")
@as_json
@_readable
def backbones_quantize(
    name: str, precision: str, calibrate: Path | None, alias: str | None, force: bool, raw: bool
) -> None:
    """Build the backbone NAME in another precision: a backbone of its own, on which heads are trained anew."""
    from adapters.store import backbones as store
    from adapters.training import calibration_images, variant
    from service import display

    _, engine, artifacts = _parts()
    source = store.find(engine, name)
    if calibrate is None:
        images = calibration_images.crops(source.preprocessing)
    else:
        images = calibration_images.folder(calibrate, source.preprocessing)
    built = variant.build(source, precision, images, engine, artifacts, name=alias, force=force)
    _show(_facts(built), raw, display.facts)


@backbones.command("export")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@_readable
def backbones_export(name: str, folder: Path) -> None:
    """Write a backbone as files (a bundle) that ESPALIER_BACKBONE_BUNDLE takes up without torch."""
    from adapters.store import backbones as store
    from service import bundles

    _, engine, artifacts = _parts()
    backbone = store.find(engine, name)
    for path in bundles.write(folder, backbone, artifacts.get(backbone.artifact)):
        click.echo(path)


@backbones.command("remove")
@click.argument("name")
@as_json
@_readable
def backbones_remove(name: str, raw: bool) -> None:
    """Forget a backbone that no head uses."""
    from adapters.store import backbones as store

    _, engine, artifacts = _parts()
    gone = store.remove(engine, name)
    if gone.artifact not in {b.artifact for b in store.list_all(engine)}:
        artifacts.delete([gone.artifact])
    _show(_facts(gone), raw, lambda _: click.echo(f"removed {name}"))


def _parts() -> "tuple[Settings, Engine, Artifacts]":
    """Settings, database and artifact store of this machine, with the tables in place."""
    from adapters.store import database
    from adapters.store.artifacts import Artifacts
    from service.settings import Settings

    settings = Settings()
    engine = database.connect(settings.database)
    database.migrate(engine)
    return settings, engine, Artifacts(settings.artifacts)


def _client(server: str) -> "Client":
    from service.client import Client

    return Client(server)


def _facts(backbone: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(backbone)


def _pair(text: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not mark or not key.isidentifier():
        raise click.ClickException(f"{text!r} is not OPTION=VALUE")
    return key, value


def _assignments(texts: tuple[str, ...]) -> dict[str, str]:
    """`old=new` texts as a dictionary; a label may hold further signs of equality."""
    for text in texts:
        if not all(text.partition("=")):
            raise click.ClickException(f"{text!r} is not of the form OLD=NEW")
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def _show(answer: Any, raw: bool, draw: Callable[[Any], Any]) -> None:
    if raw:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        draw(answer)


if __name__ == "__main__":
    logging.captureWarnings(True)
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
