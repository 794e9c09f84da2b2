"""Live heads: which graph answers for a name now, swapped without a request noticing.

A request resolves its heads once, when it is admitted, and keeps those objects to its end: a swap in between cannot
mix two versions. A change is loaded before it is shown, and a version that fails to load leaves the old one serving.
"""

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from concurrent.futures import Future

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from adapters import arrays, tasks, trust
from adapters.backbones.facts import modality_of
from adapters.errors import EspalierError, NotFound, NotReady, StaleReplica
from adapters.pools import Pool
from adapters.runtime.heads.candidates import Candidates
from adapters.runtime.heads.catch_up import CatchUp
from adapters.runtime.heads.head import Head
from adapters.runtime.heads.loaded import LiveHead, reading
from adapters.runtime.meters import UNSEEN, Meters
from adapters.store import heads
from adapters.store.objects.artifacts import Artifacts
from adapters.store.replicas import notices
from adapters.tenancy import in_log, shown
from adapters.types import Device, HeadRef, HeadVersion

log = logging.getLogger("espalier.live")
POLL = 0.5  # seconds between looks at the generation where no notice comes
LOADERS = 4  # threads that load cold heads; one that waits for a slow store does not hold up the others


class LiveHeads:
    """References → loaded heads. Reads are a dictionary look-up; loading happens on a miss and in the poll thread."""

    def __init__(
        self,
        engine: Engine,
        artifacts: Artifacts,
        *,
        max_bytes: int,
        poll: float = POLL,
        pinned: Collection[HeadRef] = (),
        meters: Meters = UNSEEN,
        device: Device = "cpu",
    ) -> None:
        self._engine, self._artifacts, self._meters, self._device = engine, artifacts, meters, device
        self._max_bytes, self._poll, self._pinned = max_bytes, poll, tuple(pinned)
        self._routes: dict[HeadRef, HeadVersion] = {}  # of heads in memory: what is evicted is looked up anew
        self._refs: dict[str, set[HeadRef]] = {}  # by digest, the same turned round
        self._heads: OrderedDict[str, LiveHead] = OrderedDict()  # by digest, least recently used first
        self._bytes = 0
        self._looks = 0  # at the database, for what changed
        self._behind: dict[str, EspalierError] = {}  # heads whose newest version failed to load, tried again, and why
        self._refreshing = threading.Lock()  # a look after the other, or one could undo what another has found
        self._catch_up = CatchUp(self.missing, self.refresh)
        self.rollouts = Candidates(engine)
        self.changed = threading.Event()  # what is served, for who tells others of it
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}  # by digest
        self._fetching: dict[HeadRef, Future[LiveHead]] = {}
        self._loaders = Pool(LOADERS, thread_name_prefix="cold-head")
        self._stop = threading.Event()
        self._follower: threading.Thread | None = None
        self.generation = heads.current_generation(engine)
        self.tails: dict[HeadRef, float] = {}  # of deep heads in memory: share of a backbone's work that is theirs
        self.loads = 0
        self.evictions = 0

    def start(self) -> None:
        """Load what is pinned, and follow the database, in a thread."""
        self._follower = threading.Thread(target=self._follow, name="live-heads", daemon=True)
        self._follower.start()

    def stop(self) -> None:
        """Stop following, and leave no thread behind."""
        self._stop.set()
        self._loaders.shutdown(wait=True, cancel_futures=True)
        self._catch_up.close()
        if self._follower is not None:
            self._follower.join()

    def peek(self, ref: HeadRef) -> LiveHead | None:
        """The loaded head of a reference, if it needs no loading. Never blocks on the database."""
        version = self._routes.get(ref)
        if version is None:
            return None
        with self._lock:
            found = self._heads.get(version.digest)
            if found is not None:
                self._heads.move_to_end(version.digest)
        return found if found is None or found.version == version else self._as(version, found)

    def get(self, ref: HeadRef) -> LiveHead:
        """The head of a reference, loaded now if need be. Raises HeadNotFound, VersionNotFound, HeadDamaged."""
        while (found := self.peek(ref)) is None:
            looks = self._looks
            version, rollout = self._routes.get(ref), self.rollouts.running.get(ref.name)
            if version is None:
                version, rollout = heads.resolve(self._engine, ref), self.rollouts.find(ref.name)
            found = self._load(version)
            with self._lock:
                # What changed since we asked was not brought up to date for a reference that nobody knew of.
                if looks != self._looks:
                    continue
                self._route(ref, version)
                self.rollouts.note(ref.name, rollout)
            if rollout is not None and ref.version is None:
                self.rollouts.load(rollout, self.get)
            return found
        return found

    async def fetch(self, ref: HeadRef) -> LiveHead:
        """`get` for the event loop: one thread loads a head, however many wait for it."""
        with self._lock:
            loading = self._fetching.get(ref)
            if loading is None:
                loading = self._fetching[ref] = self._loaders.submit(self.get, ref)
                loading.add_done_callback(lambda _: self._fetching.pop(ref, None))
        return await asyncio.shield(asyncio.wrap_future(loading))  # who leaves does not take it from the others

    def missing(self, generation: int, heads: Collection[str]) -> EspalierError | None:
        """Why these heads are not answered for with that generation yet; None where they are."""
        if self.generation < generation:
            return StaleReplica(f"the newest generation is {self.generation}, not yet {generation}")
        return next((self._behind[name] for name in heads if name in self._behind), None)

    async def catch_up(self, generation: int, heads: Collection[str]) -> None:
        """Wait until these heads are answered for with a generation that the caller has seen.

        Raises StaleReplica when nothing has reached it, HeadDamaged, SQLAlchemyError.
        """
        if self.missing(generation, heads) is not None:
            await self._catch_up.wait(generation, heads)

    def refresh(self) -> None:
        """Look once: load what changed, then show it. Raises SQLAlchemyError."""
        with self._refreshing:
            before = self.state()
            self._refresh()
            if self.state() != before:
                self.changed.set()

    def state(self) -> tuple[int, frozenset[str]]:
        """The generation that is served, and the heads whose newest version could not be loaded."""
        return self.generation, frozenset(self._behind)

    def _refresh(self) -> None:
        generation, changed = heads.changed_since(self._engine, self.generation)
        with self._lock:
            self._looks += 1
        known = {ref.name for ref in list(self._routes)}
        stale = (known if changed is None else changed) | self._behind.keys() | self.rollouts.unloadable
        failed = {name: self._update(name) for name in sorted(stale)}
        self._behind = {name: error for name, error in failed.items() if error is not None}
        if stale:
            self._let_go()
        self.generation = generation
        self._load_pinned()

    def loaded(self) -> tuple[int, int]:
        """(heads in memory, bytes of their graphs)."""
        return len(self._heads), self._bytes

    def _follow(self) -> None:
        self._load_pinned()
        told = notices.of(self._engine)
        while not self._stop.is_set():
            told.wait(self._poll, self._stop)
            try:
                self.refresh()
            except SQLAlchemyError:  # at every look until it answers: one line is enough
                log.warning("the database does not answer; serving what is loaded")
            except Exception:
                log.exception("could not look for new versions; serving what is loaded")
        told.close()

    def _load_pinned(self) -> None:
        for ref in self._pinned:
            if self._stop.is_set():
                return
            try:
                self.get(ref)
            except NotFound:  # not taught yet
                log.debug("nothing is pinned as %s yet", ref.name)
            except Exception as error:
                log.error("could not load %s, which is pinned: %s", ref.name, error, extra=in_log(ref.name))

    def _update(self, name: str) -> EspalierError | None:
        """Bring every cached reference to a head up to date; what is in the way of it keeps the old ones."""
        try:
            for ref in [r for r in list(self._routes) if r.name == name]:
                self._update_route(ref)
            self.rollouts.update(name, self.get)
        except EspalierError as error:
            log.error("no new version of %s, the old one keeps serving: %s", name, error, extra=in_log(name))
            return error
        except Exception:
            log.exception("no new version of %s, the old one keeps serving", name, extra=in_log(name))
            return NotReady(f"the newest version of {shown(name)!r} could not be loaded yet", item=shown(name))
        return None

    def _update_route(self, ref: HeadRef) -> None:
        try:
            version = heads.resolve(self._engine, ref)
            if version != self._routes.get(ref):
                self._load(version)
        except NotFound:
            with self._lock:
                self._route(ref, None)
            return
        with self._lock:
            self._route(ref, version)

    def _let_go(self) -> None:
        """Forget what no reference leads to any more: versions that others took the place of, and deleted heads."""
        with self._lock:
            for digest in [digest for digest in self._heads if digest not in self._refs]:
                self._bytes -= self._heads.pop(digest).head.bytes

    def _load(self, version: HeadVersion) -> LiveHead:
        with self._lock:
            gate = self._loading.setdefault(version.digest, threading.Lock())
        try:
            with gate:  # single flight: a hundred requests for one cold head load it once
                with self._lock:
                    found = self._heads.get(version.digest)
                if found is None:
                    found = self._as(version, self._open(version))
                    self._keep(version.digest, found)
        finally:
            with self._lock:
                self._loading.pop(version.digest, None)
        return found if found.version == version else self._as(version, found)

    def _open(self, version: HeadVersion) -> Head:
        """Raises HeadDamaged, StorageError."""
        data = heads.stored(self._artifacts, version)
        try:
            return Head.from_bytes(data, self._device)
        except Exception as error:  # the bytes are those that were proven, and yet this machine cannot use them
            named = in_log(version.head)
            log.exception("could not load version %d of %s", version.number, version.head, extra=named)
            raise heads.damaged(version) from error

    def _as(self, version: HeadVersion, found: "Head | LiveHead") -> LiveHead:
        head = found.head if isinstance(found, LiveHead) else found
        of_truth = found.of_truth if isinstance(found, LiveHead) else trust.unpack(found.metadata)
        facts, deep = version.manifest, reading(version.manifest)
        backbone, classes = facts["backbone"]["digest"], tuple(facts["classes"])
        numbers = arrays.numbers(tasks.get(facts["task"]).shapes(classes))
        source = backbone if deep is None else (deep.whole if deep.beside else deep.trunk).digest
        return LiveHead(
            version, head, backbone, classes, facts["task"], of_truth, modality_of(facts["backbone"]), numbers, source,
            deep,
        )  # fmt: skip

    def _keep(self, digest: str, loaded: LiveHead) -> None:
        with self._lock:
            self._heads[digest] = loaded
            self._bytes += loaded.head.bytes
            self.loads += 1
            self._meters.head_loaded()
            gone = set(self._surplus(digest))
            for old in gone:
                self._bytes -= self._heads.pop(old).head.bytes
                self.evictions += 1
                self._meters.head_evicted()
                for ref in list(self._refs.get(old, ())):
                    self._route(ref, None)

    def _route(self, ref: HeadRef, version: HeadVersion | None) -> None:
        """Where a reference leads from now on; the lock is held."""
        old = self._routes.pop(ref, None)
        self.tails.pop(ref, None)
        if old is not None:
            self._refs[old.digest].discard(ref)
            if not self._refs[old.digest]:
                del self._refs[old.digest]
        if version is not None:
            self._routes[ref] = version
            if "deep" in version.manifest:
                self.tails[ref] = version.manifest["deep"]["cut"]["share"]
            self._refs.setdefault(version.digest, set()).add(ref)

    def _surplus(self, newest: str) -> Iterable[str]:
        excess = self._bytes - self._max_bytes
        kept = {newest} | {self._routes[ref].digest for ref in self._pinned if ref in self._routes}
        for digest in self._heads:
            if excess <= 0:
                return
            if digest not in kept:
                excess -= self._heads[digest].head.bytes
                yield digest
