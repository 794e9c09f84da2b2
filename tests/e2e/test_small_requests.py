"""No request of a megabyte or two holds up the others: probes go on being answered while it is worked on."""

import pytest
from support import raw

from benchmarks import costly_requests, costly_texts

REQUESTS = costly_requests.REQUESTS | costly_texts.requests()
SLOW = "1.0"  # seconds, a bound of the histogram: what these tests are for took 2 to 60


def late(server: object) -> int:
    """How often the event loop came too late to what was due."""
    page = server.http.get("/metrics").text.splitlines()
    series = {line.split(" ")[0]: float(line.split(" ")[1]) for line in page if line.startswith("espalier_loop_lag")}
    return int(series["espalier_loop_lag_seconds_count"] - series[f'espalier_loop_lag_seconds_bucket{{le="{SLOW}"}}'])


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUESTS)
def test_a_small_request_holds_up_nobody(server, name):
    before = late(server)
    answer = raw.exchange(server.port, REQUESTS[name]())
    assert answer.status < 500, answer
    assert late(server) == before
