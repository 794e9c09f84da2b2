"""What a serving process holds, built once from Settings and handed to every route."""

import logging
import os
import socket
from dataclasses import dataclass, field

from sqlalchemy.engine import Engine

from adapters.comparison.trunks import Trunks
from adapters.errors import BackboneNotFound, CorruptArtifact, NotReady, StorageError
from adapters.monitoring.monitor import Monitor
from adapters.monitoring.sampler import MOST_BYTES, Sampler
from adapters.predict import Predictor
from adapters.runtime.backbone import Backbones
from adapters.runtime.embedding_memory import EmbeddingMemory
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.onnx import devices, processor
from adapters.runtime.queueing.traffic import Traffic
from adapters.store import backbones, database
from adapters.store.audit import actor
from adapters.store.embeddings import EmbeddingCache
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.types import HeadRef
from service import telemetry
from service.access.attempts import Attempts
from service.access.authenticator import Authenticator
from service.audit.address import Proxies
from service.database_threads import Threads
from service.limits.space import MEMORY_BYTES, Space
from service.limits.upload_throttle import UploadThrottle
from service.loading import backbone_loader, lanes
from service.operations.job_events import Following
from service.processes import bundles, default_backbone
from service.processes.servers import ServingProcess
from service.quotas import accepting
from service.quotas.limiter import Limiter
from service.quotas.sharing import Sharing
from service.replicas.heartbeat import Heartbeat
from service.settings import Settings
from service.wire import reference

log = logging.getLogger("espalier.service")
ALONE = ServingProcess()


@dataclass(slots=True)
class Context:
    """The open parts of a serving process."""

    settings: Settings
    engine: Engine
    artifacts: Artifacts
    predictor: Predictor
    default_backbone: str  # name
    throttle: UploadThrottle
    following: Following
    heartbeat: Heartbeat
    access: Authenticator
    sharing: Sharing
    uploads: Space = field(default_factory=Space)
    ready: bool = False  # the default backbone is loaded and warm

    @classmethod
    def open(cls, settings: Settings, process: ServingProcess = ALONE) -> "Context":
        """Connect, migrate and begin to follow the database; backbones are warmed separately.

        What is bounded is bounded for all processes behind the port, so each gets its part.
        """
        decoding = lanes(settings)
        actor.be(actor.Actor(principal="service", address=socket.gethostname()))
        _migrate(settings)
        Threads.seconds = settings.database_seconds
        engine = database.connect(settings.database, settings.database_seconds)
        artifacts = _artifacts(settings)
        default_backbone.decide(settings, engine)
        if settings.backbone_bundle:
            bundles.register(settings.backbone_bundle, engine, artifacts)
        predictor = _predictor(settings, process, engine, artifacts, decoding)
        throttle = UploadThrottle(lambda: predictor.traffic.admission.load > 0)
        heartbeat = Heartbeat(engine, predictor.live)
        heartbeat.start()
        name = default_backbone.name(settings, engine)
        space = Space(process.part(settings.max_upload_bytes), process.part(MEMORY_BYTES))
        access = Authenticator.open(settings, engine, _attempts(settings, process))
        alone = engine.dialect.name == "sqlite" and process.servers == 1
        sharing = Sharing(engine, accepting.default(settings), alone)
        sharing.start()
        return cls(
            settings, engine, artifacts, predictor, name, throttle, Following(engine), heartbeat, access, sharing, space
        )  # fmt: skip

    @property
    def limiter(self) -> Limiter:
        """Rates of this process's callers."""
        return self.sharing.limiter

    @property
    def trunks(self) -> Trunks:
        """The way from stored examples to what deep versions read."""
        return Trunks(self.predictor.backbones, self.artifacts, self.settings.most)

    def warm(self) -> None:
        """Load the default backbone and run it once. Raises NotReady while it is not built, or cannot be read."""
        try:
            backbone = backbones.find(self.engine, self.default_backbone)
        except BackboneNotFound as error:
            hint = "`espalier init` builds it, or a worker does when it starts"
            raise NotReady(f"the backbone {self.default_backbone!r} is not built yet; {hint}") from error
        try:
            self.predictor.batcher(backbone.digest)
        except (CorruptArtifact, StorageError) as error:
            raise NotReady(error.message, item=error.item) from error
        self.ready = True

    def sweep(self) -> None:
        """Delete blobs that nothing needs, now; where there are tenants a worker does it, at its next look.

        How long that takes tells whether others hold them, too, and whoever asked for it waits for it here.
        """
        if self.access.is_open:
            blobs.sweep(self.engine, self.artifacts)

    def close(self) -> None:
        """Let running requests end and let go of everything."""
        self.predictor.close()
        self.heartbeat.stop()
        self.access.close()
        self.sharing.close()
        self.engine.dispose()


def _migrate(settings: Settings) -> None:
    """With the patience of somebody whom nobody waits for: another process may be at it."""
    engine = database.connect(settings.database)
    try:
        database.migrate(engine)
    finally:
        engine.dispose()


def _predictor(
    settings: Settings, process: ServingProcess, engine: Engine, artifacts: Artifacts, decoding: int
) -> Predictor:
    """What answers, with its part of what all processes may hold; it follows the database, counts and keeps samples."""
    live = LiveHeads(
        engine, artifacts, max_bytes=process.part(settings.head_cache_bytes), poll=settings.poll_seconds,
        pinned=_pinned(settings), meters=telemetry.METERS, device=settings.device,
    )  # fmt: skip
    threads = process.part(settings.threads or processor.cores())
    load = backbone_loader(settings, engine, artifacts)
    loaded = Backbones(load, settings.device, threads, settings.engines)
    traffic, memory = _traffic(settings, process, decoding), _embedding_memory(settings, process, engine)
    monitor = Monitor(engine, telemetry.METERS)
    room = accepting.default(settings)
    sampler = Sampler(engine, artifacts, room, telemetry.METERS, most_bytes=process.part(MOST_BYTES))
    for part in (live, monitor, sampler):
        part.start()
    return Predictor(live, loaded, traffic, settings.most, memory, monitor=monitor, sampler=sampler)


def _embedding_memory(settings: Settings, process: ServingProcess, engine: Engine) -> EmbeddingMemory:
    bytes_ = process.part(settings.embedding_cache_bytes)
    return EmbeddingMemory(bytes_, telemetry.METERS, lambda digest, sha: EmbeddingCache(engine, digest).find(sha))


def _attempts(settings: Settings, process: ServingProcess) -> Attempts:
    """Of wrong keys, in this process, by the address that the audit log has, too."""
    most, address = settings.wrong_keys_per_minute, Proxies(settings.trusted_proxies).address
    counted = telemetry.AUTHENTICATION_FAILURES.labels
    return Attempts(most, address, lambda outcome: counted(outcome).inc(), servers=process.servers)


def _traffic(settings: Settings, process: ServingProcess, decoding: int) -> Traffic:
    inputs, size = process.part(settings.max_waiting), process.part(settings.max_waiting_bytes)
    threads, own = process.part(decoding), own_cores(settings, process, decoding)
    return Traffic(threads, inputs, size, settings.max_waiting_seconds, telemetry.METERS, own)


def own_cores(settings: Settings, process: ServingProcess, decoding: int) -> list[int]:
    """One for each lane of a serving process; none on a GPU, whose threads lanes start, and which was not measured."""
    return process.cores(decoding, processor.alike()) if devices.resolve(settings.device) == "cpu" else []


def _artifacts(settings: Settings) -> Artifacts:
    """Those of a process that answers requests: a bucket that is silent holds up nobody for half a minute a try.

    obstore reads its options from the environment, and forgets those once it is given any in code.
    """
    for name in ("AWS_CONNECT_TIMEOUT", "AWS_READ_TIMEOUT"):
        os.environ.setdefault(name, f"{settings.store_seconds}s")
    return Artifacts(settings.artifacts, settings.store_seconds)


def _pinned(settings: Settings) -> list[HeadRef]:
    """Raises InvalidInput."""
    return [reference(text.strip()) for text in settings.pinned_heads.split(",") if text.strip()]
