"""Memory before work: what training takes at most, so that a job which cannot fit is refused before anything heavy.

An upper bound, measured with 31,000 and 100,000 embeddings of 1,280 numbers, 10 classes: docs/adr/0012. Of a deep fit
it is what cannot be done without, so that nothing is refused that would have fitted.
"""

from dataclasses import dataclass, replace

from adapters.errors import TooMuchData

MOST = 20_000_000  # numbers of the examples that candidates of a race are compared on, 80 MB
NUMBER = 4  # bytes of a float32
RACING = 16  # copies of these that a race keeps, at most
FITTING = 3  # copies of all examples while the winner is fitted to them
EACH = 3000  # bytes of an example beside its embedding: names, labels, thumbnails as floats
HELD = 4  # copies of a tail's weights in a fit: now, at its start, two moments
BESIDE = 2  # and where it is exported from: the tail's bytes, its graph
GRADIENTS = 3  # of the halves of a batch, and their sum
SAVED, WRITTEN = 3, 3  # weights and moments in a checkpoint; its copies: the fit's, its round's, the round's bytes
STEP = "batch_size"  # the item of what is refused as a step has no memory
LEAST = 2  # examples of a batch that a caller may ask for
SMALL = 256 << 20  # bytes: a job that takes less is tried, whatever seems to be left


def needed(examples: int, length: int, looks: int = 1, outputs: int = 1) -> int:
    """Bytes for training on N examples of `length` numbers each, `looks` rows of each, with so many outputs."""
    numbers = examples * length * looks
    work = max(RACING * min(numbers, MOST), FITTING * numbers)
    return NUMBER * (numbers + work + FITTING * examples * outputs) + EACH * examples


@dataclass(frozen=True, slots=True)
class DeepFit:
    """What the memory that a deep fit takes is told by."""

    weights: int = 0  # bytes of the tail's
    each: int = 0  # bytes of an example that a step keeps until its gradients are made
    batch: int = 0  # examples a step
    averaged: bool = False  # an average of the weights is kept as well
    accelerated: bool = False  # on an accelerator, whose memory has no bytes to export or to keep

    @property
    def needed(self) -> int:
        """Bytes at the least: what is held, and the larger of a step and a checkpoint."""
        step = GRADIENTS * self.weights + self.each * self.batch
        checkpoint = 0 if self.accelerated else (SAVED + self.averaged) * WRITTEN * self.weights
        return self._held + max(step, checkpoint)

    @property
    def _held(self) -> int:
        return (HELD + self.averaged + (0 if self.accelerated else BESIDE)) * self.weights

    def fits(self, there: float) -> bool:
        """Whether it does in so many bytes; what is small is tried whatever seems to be left."""
        return self.needed <= max(SMALL, there)

    def most(self, there: float) -> int:
        """The largest batch that fits in so many bytes; 0 where none does."""
        if not replace(self, batch=1).fits(there):
            return 0
        left = max(SMALL, there) - self._held - GRADIENTS * self.weights
        return int(left // max(1, self.each))


def require_deep(there: float, name: str, fit: DeepFit) -> None:
    """Raises TooMuchData, its item STEP, where a fit of the cut of that name takes more than is there, bytes."""
    if fit.fits(there):
        return
    most = fit.most(there)
    fix = f"ask for a batch_size of at most {most:,} or for" if most >= LEAST else "ask for"
    raise TooMuchData(
        f"a step of {fit.batch:,} examples that trains {name} takes at least {_gigabytes(fit.needed)} of memory, and "
        f"the worker has {_gigabytes(there)} left: {fix} a cut nearer to the end, or run a worker with more memory",
        item=STEP,
    )


def require(there: int, examples: int, length: int, looks: int = 1, outputs: int = 1) -> None:
    """Raises TooMuchData where training takes more than there is, bytes; the arguments are those of `needed`."""
    wanted = needed(examples, length, looks, outputs)
    if wanted <= max(SMALL, there):
        return
    most = _most(max(SMALL, there), length, looks, outputs)
    raise TooMuchData(
        f"training on {examples:,} examples takes about {_gigabytes(wanted)} of memory, and the worker has "
        f"{_gigabytes(there)} left: send at most about {most:,}, ask for `reads=pooled` and "
        "`views=none`, or run a worker with more memory"
    )


def _most(there: int, length: int, looks: int, outputs: int) -> int:
    """The most examples that fit, to two digits."""
    low, high = 0, 1 << 24
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle, length, looks, outputs) <= there else (low, middle)
    unit = 10 ** max(0, len(str(low)) - 2)
    return low // unit * unit


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
