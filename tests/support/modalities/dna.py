"""Strands of DNA: bytes → letters, one-hot. A whole modality in a file, to show what one needs."""

from dataclasses import dataclass

import numpy as np

from adapters.errors import InvalidInput
from adapters.types import Input, Probed

NOUN, FIELD, UNIT, MOST = "strand", "strands", "bases", 1000
MEDIA_TYPES, SUFFIXES, FORMATS = ("text/x-dna",), frozenset({".dna"}), ("DNA",)


@dataclass(frozen=True, slots=True)
class Spec:
    order: str = "ACGT"


def sniff(data):
    return len(data) > 0 and not set(bytes(data)) - set(b"ACGT")


def probe(data, *, most):
    if not sniff(data) or len(data) > most:
        raise InvalidInput(f"a strand is 1 to {most} of the letters A, C, G and T")
    return Probed({"format": "DNA", "bases": len(data)}, len(data))


def inputs(spec):
    return (Input("bases", "int64", (None, 4)), Input("mask", "int64", (None,)))


def decode(data, spec, *, most=MOST):
    length = probe(data, most=most).cost
    hot = np.frombuffer(data, np.uint8)[:, None] == np.frombuffer(spec.order.encode(), np.uint8)
    return {"bases": hot.astype(np.int64), "mask": np.ones(length, np.int64)}


def load(size):
    return size / 100


def trial(spec, count, seed=0):
    random = np.random.default_rng(seed)
    lengths = [(5, 1, 100)[n % 3] for n in range(count)]
    return [decode(bytes(random.choice(list(b"ACGT"), n).astype(np.uint8)), spec) for n in lengths]


def fingerprint(tensors, data):
    return tensors["bases"].sum(axis=0).clip(max=255).astype(np.uint8)
