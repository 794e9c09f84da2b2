"""What the command line shows: tables and progress bars. Knows no HTTP."""

from service.cli.display.answers import predictions, suggestions
from service.cli.display.console import err, out, path, status
from service.cli.display.head_tables import comparison, examples, head, heads, report
from service.cli.display.installation import backbones, facts, keys, replicas
from service.cli.display.job_tables import follow, job, jobs, received

__all__ = [
    "backbones",
    "comparison",
    "err",
    "examples",
    "facts",
    "follow",
    "head",
    "heads",
    "job",
    "jobs",
    "keys",
    "out",
    "path",
    "predictions",
    "received",
    "replicas",
    "report",
    "status",
    "suggestions",
]
