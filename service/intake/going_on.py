"""What a request to /finetune means for examples that are not to be kept, or that a head has no more.

What is open is filled in first, and what cannot be is refused once no job of the request's Idempotency-Key is there:
a job that let its examples go would be refused by what it has done itself.
"""

from collections.abc import Set
from dataclasses import replace

from sqlalchemy.engine import Engine

from adapters.errors import InvalidInput
from adapters.store import keeping
from adapters.types import JobRequest


def completed(engine: Engine, request: JobRequest, sent: Set[str] = frozenset()) -> JobRequest:
    """A request that adds to a head without its examples goes on from the live version, and keeps none either.

    `sent` are the fields that the caller named: what they say stands.
    """
    if request.mode == "append" and keeping.have_gone(engine, request.head):
        keep = request.keep_examples if "keep_examples" in sent else False
        deep = request.deep if "deep" in sent and request.deep == "never" else "only"
        request = replace(request, keep_examples=keep, deep=deep)
    return request


def require(engine: Engine, request: JobRequest) -> None:
    """Raises ExamplesNotKept, InvalidInput for a completed request that cannot be trained so."""
    keeping.begins_at(engine, request)
    if not request.keep_examples and request.deploy == "manual":
        raise InvalidInput(
            "examples that are not kept go when the version goes live, which it does not with deploy=manual; leave out "
            "deploy, or keep_examples",
            item="keep_examples",
        )
