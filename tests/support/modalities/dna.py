"""Strands of DNA: bytes → counts of triplets. A whole modality in a file, to show what one needs."""

from dataclasses import dataclass

import numpy as np

from adapters.errors import InvalidInput
from adapters.types import Input, Preview, Probed

NOUN, FIELD, UNIT, MOST = "strand", "strands", "bases", 1000
MEDIA_TYPES, SUFFIXES, FORMATS = ("text/x-dna",), frozenset({".dna"}), ("DNA",)


@dataclass(frozen=True, slots=True)
class Spec:
    order: tuple[str, ...] = ("A", "C", "G", "T")


def sniff(data):
    return len(data) > 0 and not set(bytes(data)) - set(b"ACGT")


def media_type(data):
    return "text/x-dna" if sniff(data) else "application/octet-stream"


def verify(data, *, most=MOST):
    if not sniff(data) or len(data) > most:
        raise InvalidInput(f"a strand is 1 to {most} of the letters A, C, G and T")
    return {"format": "DNA", "bases": len(data)}


def probe(data, *, most=MOST):
    return Probed(verify(data, most=most), len(data))


def inputs(spec):
    return (Input("bases", "int64", (None, len(spec.order))), Input("mask", "int64", (None,)))


def decode(data, spec, *, most=MOST):
    verify(data, most=most)
    hot = [[letter == base for base in spec.order] for letter in bytes(data).decode()]
    return {"bases": np.array(hot, np.int64), "mask": np.ones(len(data), np.int64)}


def collate(items, spec, *, pad=False):
    longest = max(len(one["mask"]) for one in items)
    length = -(-longest // 8) * 8 if pad else longest
    return {name: np.stack([_longer(one[name], length) for one in items]) for name in ("bases", "mask")}


def _longer(tensor, length):
    return np.pad(tensor, [(0, length - len(tensor)), *[(0, 0)] * (tensor.ndim - 1)])


def load(size):
    return size / 100


def trial(spec, count, seed=0):
    random = np.random.default_rng(seed)
    lengths = [(5, 1, 100)[n % 3] for n in range(count)]
    return [decode(bytes(random.choice(list(b"ACGT"), n).astype(np.uint8)), spec) for n in lengths]


def fingerprint(tensors, data):
    return np.bincount(tensors["bases"].argmax(axis=1), minlength=4).clip(max=255).astype(np.uint8)


def preview(data, side, *, most=MOST):
    return Preview("text/plain", bytes(data[:side]), bytes(data[:side]).decode())


def alike(embeddings, fingerprints, cancelled):
    same = np.argwhere(np.triu((fingerprints[:, None] == fingerprints[None]).all(axis=2), 1))
    return [lambda groups: (same[:, 0], same[:, 1])]
