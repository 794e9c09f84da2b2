"""The tables. Migrations in `migrations/` make them; a test compares the two.

A backup has every table, and every column, but those marked PASSING: what they say is true of one moment and place.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

PASSING = {"copied": False}  # of a table: no rows of it go into a backup; of a column: null is there instead

# Named constraints, so that Alembic can alter them on every database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A head's name with its tenant's before it (`adapters.tenancy`). SQLite looks at no length, and could change one only
# by copying the table.
HEAD = String(63).with_variant(String(128), "postgresql")
EMBEDDED_BY = String(64).with_variant(String(128), "postgresql")  # a backbone's digest, likewise

backbones = Table(
    "backbones", metadata,
    Column("name", String(128), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("facts", JSON, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)  # fmt: skip

heads = Table(
    "heads", metadata,
    Column("name", HEAD, primary_key=True),
    Column("task", String(32), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("next_version", Integer, nullable=False),  # numbers are never used twice, also after a delete
)  # fmt: skip

# All that outlives a head that was deleted, its name being nobody's to read any more: a number that somebody has noted
# must never mean another version.
deleted_heads = Table(
    "deleted_heads", metadata,
    Column("name_sha256", String(64), primary_key=True),
    Column("next_version", Integer, nullable=False),
)  # fmt: skip

versions = Table(
    "versions", metadata,
    Column("head", HEAD, ForeignKey("heads.name", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("job_id", String(40), nullable=False, unique=True),  # one job, at most one version
    Column("created_at", DateTime(timezone=True), nullable=False),
)  # fmt: skip

aliases = Table(
    "aliases", metadata,
    Column("head", HEAD, primary_key=True),
    Column("alias", String(63), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    ForeignKeyConstraint(["head", "number"], ["versions.head", "versions.number"]),
)  # fmt: skip

# The last roll-out of each head, running or ended, with what was counted of it; adapters/store/rollouts.
rollouts = Table(
    "rollouts", metadata,
    Column("head", HEAD, ForeignKey("heads.name", ondelete="CASCADE"), primary_key=True),
    Column("id", String(40), nullable=False),
    Column("version", Integer, nullable=False),  # the candidate
    Column("base", Integer, nullable=False),  # what was live when it began
    Column("mode", String(16), nullable=False),
    Column("weight", Float, nullable=False),
    Column("rules", JSON, nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("reason", Text),
    Column("live_asked", BigInteger, nullable=False),
    Column("live_errors", BigInteger, nullable=False),
    Column("live_novel", BigInteger, nullable=False),
    Column("candidate_asked", BigInteger, nullable=False),
    Column("candidate_errors", BigInteger, nullable=False),
    Column("candidate_novel", BigInteger, nullable=False),
    Column("compared", BigInteger, nullable=False),
    Column("disagreed", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    ForeignKeyConstraint(["head", "version"], ["versions.head", "versions.number"], ondelete="CASCADE"),
)  # fmt: skip

# What became of the roll-outs of a head, and on what evidence; the newest are kept.
rollout_events = Table(
    "rollout_events", metadata,
    Column("head", HEAD, ForeignKey("heads.name", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("type", String(16), nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)  # fmt: skip

examples = Table(
    "examples", metadata,
    Column("head", HEAD, ForeignKey("heads.name", ondelete="CASCADE"), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("label", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("wished_split", String(8)),
    Column("group", Text),
    Column("assigned_split", String(8)),  # sticky: held out once, held out for ever; null: left out
    Column("job_id", String(40), nullable=False),
    Index("ix_examples_sha256", "sha256"),
)  # fmt: skip

jobs = Table(
    "jobs", metadata,
    Column("id", String(40), primary_key=True),
    Column("head", HEAD, nullable=False, index=True),
    Column("request", JSON, nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("progress", JSON, nullable=False),
    Column("version", Integer),
    Column("metrics", JSON),
    Column("report", JSON),
    Column("error", JSON),
    Column("cancel_requested", Boolean, nullable=False),
    Column("idempotency_key", String(255), unique=True),
    Column("fingerprint", String(64), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    # Counted in the transaction that accepts a job, so its order is that of acceptance, whatever clocks say.
    Column("sequence", Integer, nullable=False, server_default=text("0")),
    # Who is at work on it; adapters/store/leases.py. Moments are seconds since 1970 by the database's clock.
    Column("worker", String(255), info=PASSING),
    Column("lease_token", String(36), info=PASSING),
    Column("lease_until", Float, info=PASSING),
    Column("attempts", Integer, nullable=False, server_default=text("0")),  # times that a worker has taken it up
    Column("deaths", Integer, nullable=False, server_default=text("0")),  # of them, those that nobody gave back
    Column("failures", Integer, nullable=False, server_default=text("0")),  # and those that failed and were tried again
    Column("trouble", JSON),  # what the last of those failed of: {"code", "message", "item"}
    Column("due_at", Float),  # when it may be taken up again
    Column("request_id", String(128)),  # of the request that it was accepted by …
    Column("traceparent", String(55)),  # … and its trace (W3C Trace Context)
    Column("settled", Boolean, nullable=False, server_default=text("false")),  # ended, and nothing is left to be done
    Column("principal", String(255)),  # who handed it in: a key's id or a token's subject
    # 0 as callers ask for them; 1 the next stage of one, which waits until there is nothing else to do
    Column("stage", Integer, nullable=False, server_default=text("0")),
    Column("checkpoint", String(64), info=PASSING),  # digest of the blob that whoever takes it up goes on from
    Index("ix_jobs_settled_sequence", "settled", "sequence"),
)  # fmt: skip

# Counters by name; updating one locks it, so what is counted is committed in order. "jobs": those accepted so far.
counters = Table(
    "counters", metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Integer, nullable=False),
)  # fmt: skip

job_examples = Table(
    "job_examples", metadata,
    Column("job_id", String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False),
    Column("label", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("wished_split", String(8)),
    Column("group", Text),
    Index("ix_job_examples_sha256", "sha256"),
)  # fmt: skip

# What a running job has written to the artifact store: nobody's, unless it publishes.
job_blobs = Table(
    "job_blobs", metadata,
    Column("job_id", String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Index("ix_job_blobs_digest", "digest"),
    info=PASSING,  # a job that goes on elsewhere begins anew, and writes what it needs again
)  # fmt: skip

# What a version keeps in the artifact store: its graph, and what its manifest names. See `objects.blobs`.
version_blobs = Table(
    "version_blobs", metadata,
    Column("head", HEAD, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), primary_key=True),
    ForeignKeyConstraint(["head", "number"], ["versions.head", "versions.number"], ondelete="CASCADE"),
    Index("ix_version_blobs_digest", "digest"),
)  # fmt: skip

# Blobs that somebody stores now and will refer to in a moment.
blob_holds = Table(
    "blob_holds", metadata,
    Column("holder", String(32), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("since", DateTime(timezone=True), nullable=False, index=True),
    Index("ix_blob_holds_digest", "digest"),
    info=PASSING,
)  # fmt: skip

# Blobs that nobody needed when the row was written, to be deleted if that is still so.
tombstones = Table(
    "tombstones", metadata,
    Column("digest", String(64), primary_key=True),
    Column("since", DateTime(timezone=True), nullable=False),
    info=PASSING,
)  # fmt: skip

job_events = Table(
    "job_events", metadata,
    Column("job_id", String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("type", String(32), nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)  # fmt: skip

embeddings = Table(
    "embeddings", metadata,
    Column("sha256", String(64), primary_key=True),
    Column("backbone", EMBEDDED_BY, primary_key=True),  # digest, with the tenant's name before it
    Column("view", String(16), primary_key=True),  # "centre" is what serving computes
    Column("vector", LargeBinary, nullable=False),  # f32 little-endian [D]
    Column("fingerprint", LargeBinary, nullable=False),  # u8 [256], a 16×16 grey thumbnail
)  # fmt: skip

# One row. Updating it locks it, so generations are committed in order: a reader that saw 6 has missed no 5.
generation = Table(
    "generation", metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", Integer, nullable=False),
)  # fmt: skip

changes = Table(
    "changes", metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("head", HEAD, nullable=False),
    Column("created_at", DateTime(timezone=True)),
)  # fmt: skip

# What the workers of this installation can do, so that the service can check a request without loading torch.
capabilities = Table(
    "capabilities", metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("schema", JSON, nullable=False),
)  # fmt: skip

# Serving processes that live (`adapters.store.replicas`). Moments are seconds since 1970 by the database's clock.
replicas = Table(
    "replicas", metadata,
    Column("id", String(32), primary_key=True),
    Column("release", String(32), nullable=False),
    Column("generation", Integer, nullable=False),  # that it serves …
    Column("behind", JSON, nullable=False),  # … but of these heads, whose newest version it could not load
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    info=PASSING,
)  # fmt: skip

# One row: the oldest revision whose code may use these tables. A migration that takes something away raises it.
compatibility = Table(
    "compatibility", metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("oldest", String(64), nullable=False),
    info=PASSING,
)  # fmt: skip

# API keys (`adapters.store.access.keys`). `changed` counts the changes that everybody who knows a key must follow.
api_keys = Table(
    "api_keys", metadata,
    Column("id", String(16), primary_key=True),
    Column("tenant", String(40), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),
    Column("replaces", String(16)),
    Column("changed", Integer, nullable=False),
)  # fmt: skip

# Parts of a large job's inputs, which several workers embed; `adapters.store.scale_out.shards`.
job_shards = Table(
    "job_shards", metadata,
    Column("job_id", String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("images", JSON, nullable=False),  # [SHA-256, file name] of each
    Column("views", JSON, nullable=False),
    Column("done", Integer, nullable=False),  # inputs
    Column("ended", Boolean, nullable=False, server_default=text("false")),
    Column("problems", JSON),  # of inputs that cannot be used
    Column("token", String(36)),  # of who is at work on it
    Column("lease_until", Float),  # seconds since 1970 by the database's clock
    info=PASSING,
)  # fmt: skip

# How often each version answered what, by hour; adapters/store/drift. No inputs.
answer_windows = Table(
    "answer_windows", metadata,
    Column("head", HEAD, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("hour", Integer, primary_key=True, autoincrement=False),  # since 1970
    Column("counts", JSON, nullable=False),
    ForeignKeyConstraint(["head", "version"], ["versions.head", "versions.number"], ondelete="CASCADE"),
    Index("ix_answer_windows_hour", "hour"),
)  # fmt: skip

# Heads whose owners have switched on that hard inputs are kept for labeling; adapters/store/sampling.
sampling = Table(
    "sampling", metadata,
    Column("head", HEAD, ForeignKey("heads.name", ondelete="CASCADE"), primary_key=True),
    Column("keep", Integer, nullable=False),
    Column("days", Float, nullable=False),
    Column("since", Float, nullable=False),  # seconds since 1970 by the database's clock
)  # fmt: skip

# Those inputs: what was answered, by which version, why they count as hard. Their bytes are blobs.
samples = Table(
    "samples", metadata,
    Column("head", HEAD, ForeignKey("heads.name", ondelete="CASCADE"), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("backbone", String(64), nullable=False),  # digest
    Column("vector", LargeBinary, nullable=False),  # f16 little-endian [E], of length one
    Column("answer", JSON, nullable=False),
    Column("why", JSON, nullable=False),
    Column("hardness", Float, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("asked_at", Float, nullable=False),  # seconds since 1970 by the database's clock
    Index("ix_samples_sha256", "sha256"),
)  # fmt: skip
