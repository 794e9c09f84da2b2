"""Memory before work: what training takes at most, so that a job which cannot fit is refused before anything heavy.

An upper bound, measured with 31,000 and 100,000 embeddings of 1,280 numbers, 10 classes: docs/adr/0012.
"""

from adapters.errors import TooMuchData

MOST = 20_000_000  # numbers of the examples that candidates of a race are compared on, 80 MB
NUMBER = 4  # bytes of a float32
RACING = 16  # copies of these that a race keeps, at most
FITTING = 3  # copies of all examples while the winner is fitted to them
EACH = 3000  # bytes of an example beside its embedding: names, labels, thumbnails as floats
SMALL = 256 << 20  # bytes: a job that takes less is tried, whatever seems to be left


def needed(examples: int, length: int, looks: int = 1, outputs: int = 1) -> int:
    """Bytes for training on N examples of `length` numbers each, `looks` rows of each, with so many outputs."""
    numbers = examples * length * looks
    work = max(RACING * min(numbers, MOST), FITTING * numbers)
    return NUMBER * (numbers + work + FITTING * examples * outputs) + EACH * examples


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


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
