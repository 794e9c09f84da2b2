"""GET /heads?limit=1000 where there are 2,000 heads of ten classes: until all of it is there.

Limit: 50 ms (issue 13), of heads with one version each; with three, metrics of every class in each, a page has 7 MB.
"""

from functools import partial
from typing import Any

from benchmarks import costly_answers, costly_requests, record, server, small_requests

HEADS = 2000
REPETITIONS = 50
MAX_PAGE_MS = 50.0


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    results: dict[str, Any] = {"page_ms": _page((), quick), "page_of_three_versions_ms": _page((2, 3), quick)}
    results["limits"] = {"page_ms": MAX_PAGE_MS}
    record.show(results)
    return results


def _page(older: tuple[int, ...], quick: bool) -> dict[str, float]:
    heads, repetitions = (20, 2) if quick else (HEADS, REPETITIONS)
    request = costly_requests.get(f"/heads?limit={costly_answers.ROWS}")
    with server.prepared() as home:
        costly_answers.fill(home, heads, older)
        with server.serving(home) as running:
            ask = partial(small_requests.send, running.port, request)
            ask()  # what is imported or made at the first time
            return record.spread([server.seconds(ask) * 1e3 for _ in range(repetitions)])


if __name__ == "__main__":
    record.save("heads_page", main())
