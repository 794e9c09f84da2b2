"""Whose turn a request is: as many as the weight says, always the same for one key, unlike in another roll-out."""

import math

import pytest

from adapters.rollout import turns

KEYS = [f"customer {n}".encode() for n in range(20_000)]


@pytest.mark.parametrize("weight", [0.01, 0.1, 0.5, 0.99])
def test_a_share_of_keys_is_the_candidates(weight):
    """Within five standard deviations of a binomial."""
    chosen = sum(turns.is_candidates("rol_0123456789abcdef", weight, key) for key in KEYS)
    assert abs(chosen - weight * len(KEYS)) < 5 * math.sqrt(weight * (1 - weight) * len(KEYS))


def test_a_larger_weight_keeps_those_it_had_and_another_rollout_picks_others():
    small, large, other = (
        {key for key in KEYS if turns.is_candidates(name, weight, key)}
        for name, weight in (("rol_a", 0.1), ("rol_a", 0.3), ("rol_b", 0.1))
    )
    assert small < large
    assert len(small & other) < 0.2 * len(small)


def test_a_key_that_was_sent_counts_and_else_the_inputs_do():
    assert turns.key("me", [b"1"]) == turns.key("me", [b"2"]) == b"me"
    assert turns.key(None, [b"1"]) == turns.key(None, [memoryview(b"1")]) != turns.key(None, [b"2"])
    assert turns.key(None, [b"12", b"3"]) != turns.key(None, [b"1", b"23"])


def test_inputs_of_any_size_are_told_apart_by_their_ends():
    large = bytes(10 * turns.ENDS)
    keys = [turns.key(None, [data]) for data in (large, large + b"\0", b"\1" + large[1:], large[:-1] + b"\1")]
    assert len(set(keys)) == 4


def test_inputs_have_their_turns_as_often_as_the_weight_says():
    """Pictures that differ in a few bytes only, which a weak hash would put side by side."""
    made = [turns.key(None, [n.to_bytes(4, "big") * 100]) for n in range(20_000)]
    chosen = sum(turns.is_candidates("rol_x", 0.2, key) for key in made)
    assert abs(chosen - 4000) < 5 * math.sqrt(0.2 * 0.8 * 20_000)
