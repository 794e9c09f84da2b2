"""The `espalier` command: talks to a server over HTTP, but for what works on the machine itself (init … backbones).

Imports of the heavy parts stay inside the commands: `espalier predict` must not wait for a database driver.
"""

import click

from service import __version__
from service.cli import machine
from service.cli.commands import (
    audit,
    backbones,
    backup,
    changes,
    check,
    gc,
    heads,
    jobs,
    keys,
    migrate,
    quotas,
    replicas,
    rollout,
    samples,
    teach,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def main() -> None:
    """Teach frozen backbones new tasks in seconds, and serve it at once."""


for command in (changes.relabel, changes.forget, changes.rename, changes.merge, changes.drop, changes.rebuild):
    heads.heads.add_command(command)
heads.heads.add_command(rollout.rollout)
for command in (machine.init, machine.serve, machine.worker, migrate.migrate, check.check, replicas.replicas):
    main.add_command(command)
for command in (teach.finetune, teach.suggest, teach.predict):
    main.add_command(command)
for command in (backup.backup, backup.restore, backup.move, gc.gc):
    main.add_command(command)
for group in (heads.heads, jobs.jobs, backbones.backbones, keys.keys, quotas.quotas, audit.audit, samples.samples):
    main.add_command(group)
