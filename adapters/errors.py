"""One tree of errors. Each is one sentence in the caller's words; HTTP status codes live in the service."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ItemProblem:
    """One bad item of many: which, why, and what to do."""

    item: str
    code: str
    detail: str


class EspalierError(Exception):
    """Root of every error that Espalier raises on purpose.

    `code` is stable and documented; `item` names what is at fault ("image 17 (cat.jpg)"), if one thing is. Where
    several are, `errors` has them, at most `problems.MOST`, and `error_count` says how many there are.
    """

    code = "internal_error"
    errors: tuple[ItemProblem, ...] = ()
    error_count = 0

    def __init__(self, message: str, *, item: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.item = item


class InvalidInput(EspalierError):
    """The caller sent something that cannot be used; the message says what and how to mend it."""

    code = "invalid_input"


class WrongModality(InvalidInput):
    """The head reads inputs of another modality than were sent; the message says which, and in which field."""

    code = "wrong_modality"


class InvalidImage(InvalidInput):
    """The bytes are not an image that can be read as its maker meant it; the message says what they are."""

    code = "invalid_image"


class ImageTooLarge(InvalidInput):
    """The image has more pixels, or takes more memory, than the budget allows; it was refused before decoding."""

    code = "image_too_large"


class InvalidText(InvalidInput):
    """The bytes are not a text that can be read: not UTF-8, binary, or empty; the message says which and where."""

    code = "invalid_text"


class TextTooLong(InvalidInput):
    """The text has more characters than are accepted; it was refused before it was read."""

    code = "text_too_long"


class InvalidArchive(InvalidInput):
    """The zip archive is broken, unsafe, too large when unpacked, or does not say how its names are written."""

    code = "invalid_archive"


class InvalidManifest(InvalidInput):
    """The manifest does not say which label each file has, or another table labels the files beside it."""

    code = "invalid_manifest"


class InvalidLabel(InvalidInput):
    """A label is empty, missing, too long or not of the task's kind."""

    code = "invalid_label"


class NotEnoughData(InvalidInput):
    """Too few classes, or too few examples of one, to train and to measure a head."""

    code = "not_enough_data"


class TooMuchData(InvalidInput):
    """Training on so many examples takes more memory, or more room on its disk, than the worker has."""

    code = "too_much_data"


class NotEnoughHeldOut(InvalidInput):
    """The version was measured on too few examples to promise the coverage or the accuracy asked for."""

    code = "not_enough_held_out"


class InvalidHyperparameter(InvalidInput):
    """A hyperparameter is unknown, out of range or not a number."""

    code = "invalid_hyperparameter"


class InvalidBackup(InvalidInput):
    """The backup is damaged, not complete, or of a newer release than the one that is to restore it."""

    code = "invalid_backup"


class TooLarge(InvalidInput):
    """The request is larger than this server accepts."""

    code = "too_large"


class NotFound(EspalierError):
    """Nothing goes by that name."""

    code = "not_found"


class KeyNotFound(NotFound):
    """No API key of this tenant has that id."""

    code = "key_not_found"


class HeadNotFound(NotFound):
    """No head has that name."""

    code = "head_not_found"


class VersionNotFound(NotFound):
    """The head has no such version or alias."""

    code = "version_not_found"


class ExampleNotFound(NotFound):
    """The head holds no example with that SHA-256."""

    code = "example_not_found"


class LabelNotFound(NotFound):
    """The head has no class of that name."""

    code = "label_not_found"


class ReportNotFound(NotFound):
    """The version has no report: it was made before reports were kept."""

    code = "report_not_found"


class BackboneNotFound(NotFound):
    """No backbone has that name."""

    code = "backbone_not_found"


class JobNotFound(NotFound):
    """No job has that id."""

    code = "job_not_found"


class SampleNotFound(NotFound):
    """No such input of a head is kept for labeling."""

    code = "sample_not_found"


class RolloutNotFound(NotFound):
    """The head has, or had, no roll-out."""

    code = "rollout_not_found"


class Conflict(EspalierError):
    """The request clashes with the present state."""

    code = "conflict"


class ExamplesNotKept(Conflict):
    """It needs the head's examples, which were not kept (keep_examples=false); the message says how to go on."""

    code = "examples_not_kept"


class IdempotencyConflict(EspalierError):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_conflict"


class Overloaded(EspalierError):
    """More work is waiting than this server accepts; `retry_after` says when to come back (seconds)."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after: float = 1.0, item: str | None = None) -> None:
        super().__init__(message, item=item)
        self.retry_after = retry_after


class RateLimited(Overloaded):
    """The caller asks more in a second than it may; `retry_after` says when to come back (seconds)."""

    code = "rate_limited"


class QuotaExceeded(EspalierError):
    """The tenant or the key would have more than it may; the message says of what, how much, and what to do."""

    code = "quota_exceeded"

    def __init__(
        self, message: str, *, quota: str = "", limit: int = 0, used: int = 0, retry_after: float = 60.0
    ) -> None:
        super().__init__(message, item=quota)
        self.quota, self.limit, self.used, self.retry_after = quota, limit, used, retry_after


class DeadlineExceeded(EspalierError):
    """The answer was not there in the time that the request, or this server, allows; the work was dropped."""

    code = "deadline_exceeded"


class NotReady(EspalierError):
    """A part that the request needs has not started yet."""

    code = "not_ready"

    def __init__(self, message: str, *, item: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, item=item)
        self.retry_after = retry_after  # seconds, where somebody knows


class StaleReplica(EspalierError):
    """The generation that the request asked for has not been reached: so much has not changed yet."""

    code = "stale_replica"


class CandidateFailed(EspalierError):
    """The candidate of a roll-out could not answer; live does in its place."""

    code = "candidate_failed"


class Cancelled(EspalierError):
    """The job was cancelled by its owner."""

    code = "cancelled"


class ParityError(EspalierError):
    """The exported graph does not answer as the trained one did, so it must not go live."""

    code = "parity_failed"


class CorruptArtifact(EspalierError):
    """A stored blob does not have the digest it is stored under."""

    code = "corrupt_artifact"


class HeadDamaged(CorruptArtifact):
    """What is stored of a version is damaged, so it cannot be loaded; the message says how to go on."""

    code = "head_damaged"


class BackboneDamaged(CorruptArtifact):
    """The stored graph of a backbone is damaged, so its heads cannot answer; the message says how to mend it."""

    code = "backbone_damaged"


class ExampleDamaged(CorruptArtifact):
    """The stored bytes of an example are damaged; sent again, they are mended."""

    code = "example_damaged"


class DatabaseDamaged(EspalierError):
    """The file of the database is damaged; the message says what to do."""

    code = "database_damaged"


class StorageFull(EspalierError):
    """There is no space left to store an artifact."""

    code = "storage_full"


class StorageError(EspalierError):
    """The artifact store could not be read or written."""

    code = "storage_error"


class DeviceError(EspalierError):
    """The compute device that was asked for cannot be used."""

    code = "device_unavailable"
