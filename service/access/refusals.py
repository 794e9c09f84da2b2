"""How a caller is refused: by who it is, or by what it may."""

from adapters.errors import EspalierError, RateLimited


class Unauthorized(EspalierError):
    """There is no key or token in the request, or it is not a valid one; `WWW-Authenticate` says how to send one."""

    code = "unauthorized"


class TooManyAttempts(RateLimited):
    """Too many keys or tokens that are not valid came from this address; valid ones are answered all the while."""

    code = "too_many_attempts"


class Forbidden(EspalierError):
    """The key or token is valid, and has not the scope that `item` names."""

    code = "forbidden"
