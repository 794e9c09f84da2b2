"""Environment → one frozen Settings, read once and passed down. docs/reference/settings.md has every variable."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters import modalities
from adapters.backbones.cards import DEFAULT
from adapters.errors import InvalidInput

MIB = 2**20
SHORTEST_SECRET = 32  # characters
PREFIX = "ESPALIER_"
# Of the command line, which no process reads; and what the supervisor and BentoML's arbiter tell their children.
OTHERS = (
    "ESPALIER_SERVER", "ESPALIER_KEY", "ESPALIER_TO_DATABASE_URL", "ESPALIER_TO_ARTIFACTS_URL", "ESPALIER_COUNTS",
    "ESPALIER_SIGNS_OF_LIFE",
)  # fmt: skip
RENAMED = {  # what releases before 1.0 called them
    "ESPALIER_MAX_PREDICT_IMAGES": "ESPALIER_MAX_PREDICT_INPUTS",
    "ESPALIER_TENANT_IMAGES_PER_SECOND": "ESPALIER_TENANT_INPUTS_PER_SECOND",
}
ASIDE = ("ESPALIER_TEST_", "ESPALIER_BENCH", "ESPALIER_CLEANLAB_")  # of tests and benchmarks


class Settings(BaseSettings):
    """How this process runs. Each field is the environment variable ESPALIER_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    home: Path = Field(
        Path(".espalier"), description="Folder of everything that is kept, unless the URLs say otherwise."
    )
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in the home folder.")
    artifacts_url: str = Field(
        "", description="Folder or bucket (s3://…) of blobs; empty: `artifacts` in the home folder."
    )
    jobs_database_url: str = Field("", description="Database of the job engine (DBOS); empty: beside the other one.")
    backbone_bundle: str = Field(
        "", description="Folder of built backbones (`espalier backbones export`) to register at start."
    )
    default_backbone: str = Field(
        DEFAULT, description="Backbone of heads that name none; warmed before the service is ready."
    )
    precision: Literal["auto", "fp32", "int8"] = Field(
        "auto",
        description="Of the default backbone. auto: int8 in a new installation with SQLite on a CPU made for it (VNNI, "
        "dot products), else fp32.",
    )
    device: Literal["auto", "cpu", "cuda", "tensorrt"] = Field(
        "auto",
        description="Where backbones run; auto: on a GPU if one answers and runs all of a backbone; cuda and tensorrt: "
        "so, or not at all.",
    )
    # What counts them, for BentoML's arbiter too, is service/processes/servers.py.
    servers: int = Field(
        0, ge=0, description="Serving processes behind the one port; 0: one for each 8 cores begun, one on a GPU."
    )
    threads: int = Field(
        0,
        ge=0,
        description="Inputs decoded and embedded at once, and cores for an input alone; 0: all, 32 inputs on a GPU.",
    )
    max_waiting: int = Field(
        1024,
        ge=1,
        description="Inputs that may wait before others get 429; as many again of heads with less than their share.",
    )
    max_waiting_bytes: int = Field(
        1024 * MIB, ge=1, description="Bytes of bodies with inputs that may wait before others get 429."
    )
    max_waiting_seconds: float = Field(
        1.0, gt=0, description="Longest that inputs may wait behind others, as estimated, before they get 429."
    )
    predict_seconds: float = Field(
        60.0, gt=0, description="Longest from the last byte of a request with inputs to its answer; then 504."
    )
    max_connections: int = Field(
        1000,
        ge=1,
        description="Connections at once; beyond, the idlest are closed, and where none is idle others get 503. Probes "
        "and /metrics are answered still.",
    )
    header_seconds: float = Field(
        10.0,
        gt=0,
        description="Longest until a request's headers are complete; then 408, and the connection ends.",
    )
    max_header_bytes: int = Field(
        32 * 1024, ge=1024, description="Largest address and headers of a request together, bytes; beyond, 414 or 431."
    )
    keep_alive_seconds: float = Field(
        75.0,
        gt=0,
        description="Longest that a connection may be idle between two requests, seconds. A proxy must end it sooner "
        "(most do, after 60), or one of its requests may meet the end.",
    )
    drain_seconds: float = Field(
        0.0,
        ge=0,
        le=600,
        description="Seconds that a serving process goes on taking requests after SIGTERM, with `/readyz` at 503 and "
        "each connection ended by its answer, before it ends: as long as whoever spreads requests takes to notice.",
    )
    min_body_rate: int = Field(
        500,
        ge=0,
        description="Bytes a second at which a client must send a body, or read an answer, on average over "
        "`ESPALIER_BODY_SECONDS`; slower ones get 408, or are cut.",
    )
    body_seconds: float = Field(10.0, gt=0, description="Seconds over which that rate is looked at.")
    max_json_bytes: int = Field(16 * MIB, ge=1024, description="Largest JSON body, bytes.")
    max_form_parts: int = Field(200_000, ge=1, description="Most parts (files and fields) of one form, or JSON.")
    max_field_bytes: int = Field(16 * MIB, ge=1024, description="Largest sum of the text fields of one form, bytes.")
    max_upload_bytes: int = Field(
        8192 * MIB,
        ge=1,
        description="Bytes of forms and JSON that are received or worked on at once, most of them in temporary files; "
        "beyond, 429.",
    )
    database_seconds: float = Field(
        1.5, gt=0, description="Longest that a request waits for the database to answer or to let it write; then 503."
    )
    store_seconds: float = Field(
        2.0, gt=0, description="Longest that a bucket may say nothing to a request before it is 503; jobs wait longer."
    )
    max_predict_bytes: int = Field(128 * MIB, ge=1, description="Largest body of /predict and /embed, bytes.")
    max_predict_inputs: int = Field(1024, ge=1, description="Most inputs in one /predict, /embed or /suggest.")
    max_predict_heads: int = Field(256, ge=1, description="Most heads in one /predict.")
    max_finetune_bytes: int = Field(2048 * MIB, ge=1, description="Largest body of /finetune, bytes.")
    max_unpacked_bytes: int = Field(
        8192 * MIB, ge=1, description="Largest sum of what a zip archive unpacks to, bytes."
    )
    max_examples: int = Field(100_000, ge=2, description="Most examples in one /finetune.")
    max_pixels: int = Field(
        modalities.get("image").MOST,
        ge=16,
        description="Most pixels of one image; decoding takes at most 8 bytes for each.",
    )
    max_characters: int = Field(
        100_000, ge=1, description="Most characters of one text; what a backbone does not read of it is cut off."
    )
    max_jobs: int = Field(1000, ge=1, description="Jobs that may wait or run before /finetune answers 429.")
    deep: Literal["auto", "never"] = Field(
        "auto",
        description="What `deep` of /finetune is where it is not sent. auto: a job that made a version with what data "
        "suffice for is followed by one that trains the last part of the backbone, too, and replaces it if better.",
    )
    job_retries: int = Field(
        100,
        ge=0,
        description="Times that a job is tried again while the database or the store does not answer or is full, with "
        "pauses of up to 15 seconds: about 25 minutes.",
    )
    stall_seconds: float = Field(
        1800.0,
        ge=0,
        description="Seconds without a sign of work at a job after which its worker ends, so that another takes the "
        "job up: a library hangs, and nothing else can end it; 0: it never does.",
    )
    head_cache_bytes: int = Field(
        512 * MIB, ge=1, description="Memory for loaded heads, bytes; the least recently used go first."
    )
    pinned_heads: str = Field(
        "", description="Heads loaded at start and never evicted: `name` or `name@alias`, with commas between them."
    )
    embedding_cache_bytes: int = Field(
        0,
        ge=0,
        description="Bytes of embeddings that serving remembers, so that inputs sent again skip the backbone; 0: off.",
    )
    poll_seconds: float = Field(
        0.5, gt=0, description="How often a replica looks for new versions that no notice told it of, seconds."
    )
    keep_days: float = Field(
        30.0, gt=0, le=36_500, description="Days that ended jobs, their events and their idempotency keys are kept."
    )
    keep_jobs: int = Field(
        10_000,
        ge=0,
        le=10**9,
        description="Most ended jobs that are kept, beside one of each head; the oldest go first.",
    )
    drift_days: float = Field(
        14.0, gt=0, le=3660, description="Days that counts of answers by version and hour are kept, for drift."
    )
    sweep_seconds: float = Field(
        60.0, gt=0, le=86_400, description="How often a worker looks for what need not be kept any more, seconds."
    )
    allowed_hosts: str = Field(
        "",
        description="Names by which the service may be asked beside addresses and localhost, with commas between them; "
        "`*.example.com` allows all below it, `*` any. Web pages of these may change things, too.",
    )
    access: Literal["auto", "keys", "open"] = Field(
        "auto",
        description="Who needs a key. auto: everybody, once there is a key, an admin key or an issuer of tokens; keys: "
        "everybody; open: nobody.",
    )
    insecure: bool = Field(
        False,
        description="Answer others than this machine although nobody needs a key: something before the service keeps "
        "strangers out.",
    )
    admin_key: SecretStr | None = Field(
        None, description="A key of the operator's own that may do everything, of 32 characters or more; kept nowhere."
    )
    admin_key_file: Path | None = Field(None, description="A file with that key in it, such as a mounted secret.")
    key_pepper: SecretStr | None = Field(
        None,
        description="Secret under which keys are hashed, the same for all processes; with another one no key is valid.",
    )
    oidc_issuer: str = Field(
        "", description="Issuer of bearer tokens (an https URL), whose keys are found by OpenID Connect discovery."
    )
    oidc_audience: str = Field("", description="What tokens must have in `aud`; needed with an issuer.")
    oidc_rules: Path | None = Field(
        None, description="TOML file that says which tenant and scopes a token's claims give; needed with an issuer."
    )
    wrong_keys_per_minute: float = Field(
        60,
        ge=0,
        description="Keys and tokens from one address that may be wrong, over all serving processes behind the port "
        "(one of each at least); more are 429. Valid ones are answered all the while. 0: any number.",
    )
    tenant_heads: int = Field(
        0, ge=0, description="Most heads of a tenant, unless `espalier quotas` says otherwise; 0: any number."
    )
    tenant_examples: int = Field(
        0, ge=0, description="Most examples of a tenant, over all of its heads; 0: any number."
    )
    tenant_bytes: int = Field(
        0,
        ge=0,
        description="Most bytes of inputs that a tenant's heads and samples hold, each counted once; 0: any number.",
    )
    tenant_jobs: int = Field(0, ge=0, description="Most jobs of a tenant that wait or run; 0: up to ESPALIER_MAX_JOBS.")
    tenant_requests_per_second: float = Field(
        0, ge=0, description="Most requests of a tenant a second, over all serving processes; 0: any number."
    )
    tenant_inputs_per_second: float = Field(
        0, ge=0, description="Most inputs of a tenant a second in /predict, /embed and alike; 0: any number."
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses and networks of proxies, with commas between them, whose `X-Forwarded-For` says "
        "from where a request comes, in both logs (audit, access) and for wrong keys; of others it is not believed.",
    )
    audit_days: float = Field(
        365.0, ge=0, le=36_500, description="Days that rows of the audit log are kept; 0: for ever."
    )
    worker_id: str = Field(
        "",
        description="Stable name of this worker: a restart under it takes up its jobs at once, others do after 15 "
        "seconds. Empty: the host's.",
    )
    worker_niceness: int = Field(
        10,
        ge=0,
        le=19,
        description="CPU niceness of the training worker, so that serving goes first; threads that train deep versions "
        "have 19, unless this is 0.",
    )
    training_memory_bytes: int = Field(
        0,
        ge=0,
        description="Memory that training may take, bytes; 0: what the machine or the container has left. A job that "
        "would take more is refused with both figures.",
    )
    deep_bytes: int = Field(
        0,
        ge=0,
        description="Most bytes in `deep` of the home folder, of what the backbone's frozen part told of a job's "
        "examples while its last part is trained; 0: what the disk has free. A cut that would take more is not tried, "
        "and the report says so.",
    )
    hang_seconds: float = Field(
        30.0,
        ge=0,
        description="Seconds without a sign of life after which `espalier serve` replaces a process; 0: never.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")
    log_format: Literal["text", "json"] = Field(
        "text", description="Of log lines: text for people, or json, an object a line, for programs."
    )
    tracing: bool = Field(
        False,
        description="Whether requests and jobs are traced, to where OTEL_EXPORTER_OTLP_ENDPOINT says: true or false. "
        "Needs the extra `otel`.",
    )
    access_log: bool = Field(False, description="Whether each answered request is logged: true or false.")

    @cached_property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'espalier.sqlite'}"

    @cached_property
    def artifacts(self) -> str:
        """The artifact store in force."""
        return self.artifacts_url or str(self.home.absolute() / "artifacts")

    @cached_property
    def engines(self) -> Path:
        """Where TensorRT keeps the engines that it builds for this machine's GPU."""
        return self.home.absolute() / "engines"

    @cached_property
    def jobs_database(self) -> str:
        """DBOS's database in force: a file of its own beside SQLite, a schema of its own in Postgres."""
        if self.jobs_database_url or not self.database.startswith("sqlite"):
            return self.jobs_database_url or self.database
        return f"sqlite:///{Path(self.database.removeprefix('sqlite:///')).parent / 'jobs.sqlite'}"

    def admin_secret(self) -> str:
        """The operator's own key, or nothing. Raises InvalidInput for one that could be guessed."""
        text = self.admin_key.get_secret_value() if self.admin_key is not None else ""
        if self.admin_key_file is not None:
            text = _secret_in(self.admin_key_file)
        if (text or self.admin_key_file is not None) and len(text) < SHORTEST_SECRET:
            raise InvalidInput(f"ESPALIER_ADMIN_KEY needs {SHORTEST_SECRET} characters or more", item="admin_key")
        return text

    def pepper(self) -> bytes:
        """What keys are hashed under; empty where that is not set."""
        return self.key_pepper.get_secret_value().encode() if self.key_pepper is not None else b""

    @cached_property
    def most(self) -> dict[str, int]:
        """What one input may have at most, by modality, each in its unit: pixels, characters."""
        kinds = {name: modalities.get(name) for name in modalities.names()}
        return {name: int(getattr(self, f"max_{kind.UNIT}", kind.MOST)) for name, kind in kinds.items()}

    @cached_property
    def sqlite_files(self) -> list[Path]:
        """The files of SQLite; none with Postgres."""
        urls = dict.fromkeys((self.database, self.jobs_database))
        return [Path(url.removeprefix("sqlite:///")) for url in urls if url.startswith("sqlite")]


def _secret_in(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"ESPALIER_ADMIN_KEY_FILE cannot be read: {file}", item="admin_key_file") from None


def unknown(environment: Mapping[str, str]) -> list[str]:
    """A sentence on each variable that looks like a setting and is none, with what may have been meant.

    A misspelled setting would have no effect, and nobody would know.
    """
    known = [*(f"{PREFIX}{name.upper()}" for name in Settings.model_fields), *OTHERS]
    found = [name for name in sorted(environment) if name.upper().startswith(PREFIX) and name.upper() not in known]
    return [_stranger(name, known) for name in found if not name.startswith(ASIDE)]


def _stranger(name: str, known: Sequence[str]) -> str:
    if now := RENAMED.get(name.upper()):
        return f"the environment variable {name} is no setting any more and has no effect; it is called {now} now"
    near = get_close_matches(name.upper().removeprefix(PREFIX), [k.removeprefix(PREFIX) for k in known], 1)
    hint = f"did you mean {PREFIX}{near[0]}?" if near else "docs/reference/settings.md lists all"
    return f"the environment variable {name} is no setting and has no effect; {hint}"
