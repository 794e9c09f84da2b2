"""The client: all of its parts on one connection."""

from service.client.answers import Answers
from service.client.examples import Examples
from service.client.heads import Heads
from service.client.jobs import Jobs


class Client(Jobs, Answers, Heads, Examples):
    """A connection to one server. Raises ApiError when it refuses, httpx.TransportError when it does not answer."""
