"""What is told of serving processes over HTTP; part of the wire contract (`service.wire`)."""

from pydantic import Field

from adapters.store.replicas.registry import Replica, Serving
from service.wire import Wire


class ReplicasView(Wire):
    """Serving processes that live when a request with `wait=all` is answered."""

    living: int
    serving: int = Field(description="Those of them that answer with the change; fewer: the time was up.")

    @classmethod
    def of(cls, found: Serving | None) -> "ReplicasView | None":
        return None if found is None else cls(living=found.living, serving=found.serving)


class ReplicaView(Wire):
    """A serving process that lives. What its id is says nothing of where it runs."""

    id: str
    release: str
    generation: int = Field(description="The state of the heads that it serves.")
    behind: int = Field(description="Heads whose newest version it could not load; it answers with the one before.")
    known_for_seconds: float
    silent_for_seconds: float = Field(description="Since it was last heard of; after 10 it is forgotten.")
    answering: bool = Field(description="Whether it is the one that gives this answer.")

    @classmethod
    def of(cls, one: Replica, own: str) -> "ReplicaView":
        return cls(
            id=one.id, release=one.release, generation=one.generation, behind=len(one.behind),
            known_for_seconds=round(one.known_for, 1), silent_for_seconds=round(one.silent_for, 1),
            answering=one.id == own,
        )  # fmt: skip


class ReplicaList(Wire):
    """The serving processes that live."""

    generation: int = Field(description="The newest state of the heads.")
    replicas: list[ReplicaView]
