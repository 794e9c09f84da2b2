"""The connection: a key, requests, and whether the server is there."""

import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from service.client.errors import Json, refuse

DEFAULT_URL = "http://127.0.0.1:3000"


class Transport:
    """A connection to one server. Raises ApiError when it refuses, httpx.TransportError when it does not answer."""

    def __init__(self, url: str = DEFAULT_URL, *, key: str | None = None, timeout: float = 600.0) -> None:
        """`key`: an API key or a token, for a server that asks for one; by default that of ESPALIER_KEY."""
        given = os.environ.get("ESPALIER_KEY") if key is None else key
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(timeout, connect=10.0), headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def is_ready(self) -> bool:
        """Whether the server answers predictions."""
        try:
            return self._http.get("/readyz", timeout=5.0).status_code == 200
        except httpx.TransportError:
            return False

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Wait until the server answers predictions. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server at {self._http.base_url} was not ready in {timeout:.0f} s")
            time.sleep(0.1)

    def _change(self, path: str, body: Json, wait: float) -> Json:
        return self._json("POST", path, json=body, params={"wait": wait})

    def _pages(self, path: str, key: str, **query: Any) -> Iterator[Json]:
        """Every row of a list, page by page."""
        after: str | None = ""
        while after is not None:
            page = self._json("GET", path, params=query | {"after": after, "limit": 1000})
            yield from page[key]
            after = page["next"]

    def _json(self, method: str, path: str, **arguments: Any) -> Any:
        return self._request(method, path, **arguments).json()

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        response = self._http.request(method, path, **arguments)
        if response.is_error:
            refuse(response)
        return response
