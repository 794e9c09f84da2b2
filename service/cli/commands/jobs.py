"""`espalier jobs`: what is and was taught."""

import click

from service.cli.options import Listing, connect, remote, show


@click.group(cls=Listing)
def jobs() -> None:
    """List jobs, look at one, cancel one."""


@jobs.command("list")
@click.option("--head")
@click.option("--status")
@click.option("--limit", type=int, default=20, show_default=True)
@remote
def jobs_list(head: str | None, status: str | None, limit: int, server: str, raw: bool) -> None:
    """Jobs, newest first."""
    from service.cli import display

    with connect(server) as client:
        show(client.jobs(head=head, status=status, limit=limit), raw, display.jobs)


@jobs.command("show")
@click.argument("job_id")
@remote
def jobs_show(job_id: str, server: str, raw: bool) -> None:
    """Figures and report of a job."""
    from service.cli import display

    with connect(server) as client:
        show(client.job(job_id), raw, display.job)


@jobs.command("cancel")
@click.argument("job_id")
@remote
def jobs_cancel(job_id: str, server: str, raw: bool) -> None:
    """Stop a job."""
    with connect(server) as client:
        show(client.cancel(job_id), raw, lambda job: click.echo(f"{job['id']} is {job['status']}"))
