"""Requests of a megabyte or two that are made to be costly: 1.8 MB of one thing each, for every part of a request."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")
Makers = dict[str, Callable[[], T]]

BYTES = 1_800_000
FORM, JSON = "multipart/form-data; boundary=xx", "application/json"
FIELD = '--xx\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
FILE = FIELD.replace('"\r\n\r\n', '"; filename="a"\r\n\r\n')
END = "--xx--\r\n"
HOST = b"Host: 127.0.0.1\r\n"


def post(path: str, body: bytes, kind: str) -> bytes:
    """A request as bytes."""
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def get(path: str, *more: str) -> bytes:
    """A request as bytes."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *more, "", ""]).encode()


def filled(text: str) -> str:
    """That text over and over."""
    return (text * (BYTES // len(text) + 1))[:BYTES]


def numbered(text: str, by: int = 16) -> str:
    """That text with another number each time, of about so many characters."""
    return "".join(text % number for number in range(BYTES // by))[:BYTES]


def form(*parts: str) -> str:
    """A form with its end."""
    return "".join(parts) + END


FORMS: Makers[str] = {
    "different names": lambda: form(numbered(FIELD % ("%x", ""), 64)),
    "one name": lambda: form(numbered(FIELD % ("head", "%x"), 64)),
    "tiny files": lambda: form(numbered(FILE % ("images", "%x"), 80)),
    "a long name": lambda: form(FIELD % (filled("a"), "")),
    "quotes in names": lambda: form(filled(FIELD % (";" * 3900, ""))),
    "names in other charsets": lambda: form(filled(FIELD % ('images"; ' + "filename*=" * 380 + '"', ""))),
    "half boundaries": lambda: form(FILE % ("images", filled("\r\n--x"))),
    "part headers": lambda: form("--xx\r\n" + filled("a: b\r\n")),
    "hyperparameters": lambda: form(FIELD % ("head", "x"), FIELD % ("hyperparameters", "[" + filled("[],") + "[]]")),
    "a label": lambda: form(FIELD % ("head", "x"), FILE % ("images", "a"), FIELD % ("labels", filled("a"))),
    "labels": lambda: form(
        FIELD % ("head", "x"), FILE % ("images", "a"), FIELD % ("labels", "[" + filled("[],") + "[]]")
    ),
    "columns": lambda: form(
        FIELD % ("head", "x"), FILE % ("images", "a"), FIELD % ("manifest", "file_name" + filled(",a"))
    ),
    "lines": lambda: form(
        FIELD % ("head", "x"), FILE % ("images", "a"), FIELD % ("manifest", filled('{"file_name":"a"}\n'))
    ),
}
BODIES: Makers[str] = {
    "lists": lambda: "[" + filled("[],") + "[]]",
    "depth": lambda: filled("["),
    "digits": lambda: filled("1"),
    "names": lambda: "{" + numbered('"%x":1,', 12) + '"a":1}',
    "wrong labels": lambda: "{" + numbered('"%064x":[1],', 72) + f'"{"0" * 64}":1}}',
    "one label of many": lambda: '{"' + "0" * 64 + '":[' + filled("1,") + "1]}",
    "one label of many names": lambda: '{"' + "0" * 64 + '":{' + numbered('"%x":[],', 12) + '"a":1}}',
    "texts": lambda: "[" + numbered('"%x",', 9) + '"a"]',
}
PATHS = {"examples/relabel": "labels", "examples/delete": "sha256", "labels": "rename"}  # each with its field
CHUNKED = b"POST /finetune HTTP/1.1\r\n" + HOST + f"Content-Type: {FORM}\r\n".encode()
CHUNKED += b"Transfer-Encoding: chunked\r\n\r\n"


def _form(name: str) -> bytes:
    return post("/finetune", FORMS[name]().encode(), FORM)


def _json(path: str, name: str) -> bytes:
    return post(f"/heads/x/{path}", f'{{"{PATHS[path]}":{BODIES[name]()}}}'.encode(), JSON)


REQUESTS: Makers[bytes] = {
    "query": lambda: get("/heads?" + numbered("%x=&", 6)),
    "query of a prediction": lambda: post("/predict?" + numbered("%x=&", 6)[:30_000], b"x", "image/png"),
    "predict: different names": lambda: post("/predict", FORMS["different names"]().encode(), FORM),
    "bento: different names": lambda: post("/bento/predict", FORMS["different names"]().encode(), FORM),
    "headers": lambda: get("/heads", *(f"a{n}: b" for n in range(150_000))),
    "cookies": lambda: get("/heads", "Cookie: " + filled("a=b; ")[:30_000]),
    "quotes in a type": lambda: post("/finetune", b"x", 'multipart/form-data; boundary="' + ";" * 30_000),
    "chunks of a byte": lambda: CHUNKED + filled("1\r\nx\r\n").encode(),
    "requests": lambda: filled("GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").encode(),
    "openapi": lambda: get("/openapi.json"),
}
REQUESTS |= {f"form: {name}": partial(_form, name) for name in FORMS}
REQUESTS |= {f"{path}: {name}": partial(_json, path, name) for path in PATHS for name in BODIES}
