"""The statistics of roll-outs: intervals that hold at all times, and rules that decide rightly, by simulation."""

import math

import numpy as np
import pytest

from adapters.rollout import sequential
from adapters.rollout.decision import decide, weigh
from adapters.rollout.facts import Asked, Counts, Limits, Rules

RUNS = 400
BACK = Rules(roll_back_when=Limits(50, errors=0.02))


def paths(p: float, length: int, seed: int) -> np.ndarray:
    """Hits after 1, 2, … requests, i64 [RUNS, length]."""
    return (np.random.default_rng(seed).random((RUNS, length)) < p).cumsum(axis=1)


def test_evidence_is_the_logarithm_of_a_martingale_of_mean_one():
    """Its expectation under the share that it speaks against, exactly, for every number of requests."""
    for count in (1, 2, 7, 30):
        for p in (0.01, 0.3, 0.9):
            chances = [math.comb(count, k) * p**k * (1 - p) ** (count - k) for k in range(count + 1)]
            values = [math.exp(sequential.evidence(k, count, p)) for k in range(count + 1)]
            assert sum(c * v for c, v in zip(chances, values, strict=True)) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.002, 0.05, 0.5])
def test_an_interval_that_is_looked_at_after_each_request_is_hardly_ever_wrong(p):
    """Of 400 roll-outs of 3,000 requests at most 10 %, and what chance adds, ever exclude the truth."""
    counts = np.arange(1, 3001)
    lost = sum(
        any(sequential.evidence(int(k), int(n), p) >= math.log(10) for k, n in zip(path[::5], counts[::5], strict=True))
        for path in paths(p, 3000, 1)
    )  # fmt: skip
    assert lost / RUNS <= 0.1 + 2 * math.sqrt(0.1 * 0.9 / RUNS)


def test_a_fixed_interval_would_be_wrong_far_more_often():
    """Why it is not used: that of Wald at 95 %, looked at after each request."""
    counts = np.arange(1, 3001)
    share = paths(0.5, 3000, 2) / counts
    outside = np.abs(share - 0.5) > 1.96 * np.sqrt(0.25 / counts)
    assert outside[:, 50:].any(axis=1).mean() > 0.25


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (0, 1000), (3, 40), (40, 40), (500, 1000)])
def test_an_interval_holds_what_was_seen_and_ends_where_the_evidence_does(hits, count):
    found = sequential.share(hits, count, 0.05)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    for edge in {found.low, found.high} - {0.0, 1.0}:
        assert sequential.evidence(hits, count, edge) == pytest.approx(math.log(20), abs=1e-6)


def test_nothing_counted_is_nothing_known():
    assert weigh(Counts(), 0.95)["errors"] == sequential.Interval(None, -1.0, 1.0)
    assert decide(Counts(), Rules(Limits(1, disagreement=0.5), Limits(1, errors=0.0))) is None


def counted(live: tuple[int, int], candidate: tuple[int, int], compared: int = 0, disagreed: int = 0) -> Counts:
    """(asked, errors) of each version."""
    return Counts(Asked(*live), Asked(*candidate), compared, disagreed)


def first_decision(errors: np.ndarray, of_live: np.ndarray, rules: Rules, step: int = 25) -> str | None:
    """What is decided of two paths of errors, looked at after every so many requests."""
    for at in range(step - 1, len(errors), step):
        found = decide(counted((at + 1, int(of_live[at])), (at + 1, int(errors[at]))), rules)
        if found is not None:
            return found.status
    return None


def test_a_candidate_as_good_as_live_is_hardly_ever_rolled_back():
    """Where both fail in 1 % of requests; the limit is zero more than live."""
    rules = Rules(roll_back_when=Limits(1, errors=0.0))
    pairs = list(zip(paths(0.01, 1500, 3), paths(0.01, 1500, 4), strict=True))[:100]
    lost = sum(first_decision(one, other, rules, step=50) is not None for one, other in pairs)
    assert lost <= 5


def test_a_candidate_that_fails_often_is_rolled_back_soon():
    """One in five requests, where live fails in one of a hundred: within 300 requests, in nine of ten roll-outs."""
    pairs = zip(paths(0.2, 300, 5), paths(0.01, 300, 6), strict=True)
    found = [first_decision(one, other, BACK) for one, other in pairs]
    assert found.count("rolled_back") >= 0.9 * RUNS


def test_a_good_candidate_is_promoted_and_one_beyond_the_limit_hardly_ever_is():
    """Limit 10 % of disagreement: 4 % is shown to be less in 1,500 requests, 12 % is not in 5 of 100 roll-outs."""
    rules = Rules(Limits(100, disagreement=0.1))

    def promoted(p: float, seed: int) -> float:
        found = 0
        for path in paths(p, 1500, seed)[:100]:
            looks = range(99, 1500, 50)
            found += any(decide(counted((0, 0), (n + 1, 0), n + 1, int(path[n])), rules) is not None for n in looks)
        return found / 100

    assert promoted(0.04, 7) >= 0.95
    assert promoted(0.12, 8) <= 0.05


def test_nothing_is_decided_before_the_fewest_requests():
    """However plain it is."""
    worst = counted((49, 0), (49, 49))
    assert decide(worst, BACK) is None
    assert decide(worst.asked("candidate", error=True), BACK).status == "rolled_back"
    sure = Rules(promote_when=Limits(200))
    assert (
        decide(counted((0, 0), (199, 0)), sure) is None and decide(counted((0, 0), (200, 0)), sure).status == "promoted"
    )


def test_where_both_rules_hold_it_is_rolled_back():
    rules = Rules(Limits(10, disagreement=1.0), Limits(10, errors=0.1))
    found = decide(counted((500, 0), (500, 400), 100, 0), rules)
    assert found.status == "rolled_back" and "failed requests less live's is 0.8000" in found.reason


def test_more_novel_inputs_than_live_finds_are_evidence_and_as_many_are_not():
    rules = Rules(roll_back_when=Limits(50, novelty=0.05))
    assert decide(Counts(Asked(1000, 0, 300), Asked(1000, 0, 300)), rules) is None
    assert decide(Counts(Asked(1000, 0, 10), Asked(1000, 0, 300)), rules).status == "rolled_back"
