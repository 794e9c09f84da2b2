"""What the client raises where the server refuses."""

from typing import Any

import httpx

Json = dict[str, Any]


class ApiError(Exception):
    """The server refused; `problem` is its RFC 9457 body."""

    def __init__(self, status: int, problem: Json) -> None:
        super().__init__(problem.get("detail") or f"HTTP {status}")
        self.status, self.problem = status, problem
        self.code: str = problem.get("code", "")
        self.errors: list[Json] = problem.get("errors") or []  # every bad item, where items are at fault
        self.error_count: int = problem.get("error_count") or 0  # also those beyond the list


def refuse(response: httpx.Response) -> None:
    """Raises ApiError with what a response says."""
    try:
        problem = response.json()
    except ValueError:
        problem = {"detail": response.text[:500] or response.reason_phrase, "code": "not_espalier"}
    raise ApiError(response.status_code, problem)
