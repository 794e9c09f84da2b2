"""A body becomes parts whose bytes, hashes and names are what the client sent; a bad one leaves nothing behind."""

import asyncio
import errno
import gc
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser
from starlette.requests import ClientDisconnect, Request

from adapters.errors import InvalidInput, StorageFull, TooLarge
from service.intake import multipart, uploads

BOUNDARY = "boundary1234"
MIB = 1 << 20


def request(
    body: bytes, content_type: str | None = None, *, chunk: int = 65_536, length: int | None = None, cut: bool = False
) -> Request:
    """A request as uvicorn would hand it over; `cut` disconnects before the end."""
    headers = [(b"content-type", (content_type or f"multipart/form-data; boundary={BOUNDARY}").encode())]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.disconnect"} if cut else {"type": "http.request", "body": b"", "more_body": False})
    queue = iter(messages)

    async def receive() -> dict[str, object]:
        return next(queue)

    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def part(disposition: str, data: bytes = b"", headers: str = "") -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n{headers}\r\n".encode() + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def received(body: bytes, content_type: str | None = None, *, chunk: int = 65_536, **limits: int) -> uploads.Upload:
    limits = {"max_bytes": 1 << 40} | limits
    return asyncio.run(uploads.receive(request(body, content_type, chunk=chunk), **limits))


def as_httpx_sends(**form: object) -> tuple[bytes, str]:
    sent = httpx.Request("POST", "http://x", **form)  # type: ignore[arg-type]
    return sent.read(), sent.headers["content-type"]


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test leaves a file or a file descriptor."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    assert not list(tmp_path.iterdir())
    assert len(os.listdir("/proc/self/fd")) <= before


def test_an_ordinary_client_is_understood() -> None:
    files = [("images", ("cat.jpg", b"\xff\xd8cat", "image/jpeg")), ("images", ("hund ä.png", b"dog", "image/png"))]
    body, content_type = as_httpx_sends(data={"head": "pets", "labels": ["cat", "dög"]}, files=files)
    with received(body, content_type) as upload:
        assert upload.field("head") == "pets" and upload.field("task", "classification") == "classification"
        assert upload.fields("labels") == ["cat", "dög"] and upload.fields("none") == []
        assert [file.file_name for file in upload.files("images")] == ["cat.jpg", "hund ä.png"]
        assert [file.content_type for file in upload.files("images")] == ["image/jpeg", "image/png"]
        assert bytes(upload.files("images")[0].data()) == b"\xff\xd8cat"
        assert upload.names == {"head", "labels", "images"}
        assert [p.name for p in upload.parts] == ["head", "labels", "labels", "images", "images"]


names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters='"\\%'), min_size=1)
blobs = st.binary(max_size=300) | st.sampled_from(
    [b"\r\n", b"--", b"\r\n--boundary123", f"\r\n--{BOUNDARY[:-1]}".encode(), b"\r" * 9]
)


@settings(deadline=None)
@given(files=st.lists(st.tuples(names, blobs), min_size=1, max_size=6), chunk=st.integers(1, 400))
def test_files_survive_however_the_body_is_cut_into_chunks(files: list[tuple[str, bytes]], chunk: int) -> None:
    parts = [part(f'name="images"; filename="{name}"', data) for name, data in files]
    with received(form(*parts), chunk=chunk) as upload:
        got = upload.files("images")
        assert [(file.file_name, bytes(file.data())) for file in got] == files
        assert [file.sha256 for file in got] == [hashlib.sha256(data).hexdigest() for _, data in files]
        assert [file.size for file in got] == [len(data) for _, data in files]


def test_a_large_upload_lies_in_one_unlinked_file(tmp_path: Path) -> None:
    photos = [os.urandom(MIB // 2) for _ in range(20)]
    parts = [part(f'name="images"; filename="{n}.jpg"', data) for n, data in enumerate(photos)]
    before = len(os.listdir("/proc/self/fd"))
    with received(form(*parts)) as upload:
        assert len(os.listdir("/proc/self/fd")) <= before + 2  # the file and its map
        assert not list(tmp_path.iterdir())
        assert [bytes(file.data()) for file in upload.files("images")] == photos
        views = [file.data() for file in upload.files("images")]
        assert views[0].readonly
    assert bytes(views[3]) == photos[3]  # a decoder that still holds a view reads sound bytes after close


def test_a_closed_upload_gives_no_data() -> None:
    with received(form(part('name="a"', b"1"))) as upload:
        pass
    with pytest.raises(ValueError, match="closed"):
        upload.parts[0].data()


def test_one_huge_chunk_is_read_in_slices() -> None:
    """An ASGI server may hand over the whole body at once; other requests must get their turn."""
    turns = 0

    async def main() -> uploads.Upload:
        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        body = form(part('name="images"; filename="a"', bytes(6 * MIB)))
        try:
            return await uploads.receive(request(body, chunk=1 << 30), max_bytes=1 << 30)
        finally:
            task.cancel()

    with asyncio.run(main()) as upload:
        assert upload.files("images")[0].size == 6 * MIB
    assert turns >= 6


def test_many_parts_are_accepted_up_to_the_limit() -> None:
    parts = [part('name="labels"', b"x")] * 3_000
    with received(form(*parts)) as upload:
        assert len(upload.fields("labels")) == 3_000
    with pytest.raises(TooLarge, match="more than 2,999 parts"):
        received(form(*parts), max_parts=2_999)


def test_a_declared_length_over_the_limit_is_refused_before_reading() -> None:
    async def never() -> dict[str, object]:
        raise AssertionError("the body was read")

    for read in (lambda r: uploads.receive(r, max_bytes=10), lambda r: uploads.read_body(r, 10)):
        asked = request(b"", length=11)
        asked._receive = never
        with pytest.raises(TooLarge, match="limit of 10 bytes"):
            asyncio.run(read(asked))


def test_an_undeclared_body_is_refused_as_it_grows() -> None:
    body = form(part('name="images"; filename="a"', bytes(9 * MIB)))
    with pytest.raises(TooLarge):
        received(body, max_bytes=9 * MIB)
    with pytest.raises(TooLarge):
        asyncio.run(uploads.read_body(request(body), 9 * MIB))


def test_text_fields_have_a_limit_together_and_one_megabyte_passes() -> None:
    with received(form(part('name="labels"', b"x" * MIB))) as upload:
        assert len(upload.field("labels") or "") == MIB
    with pytest.raises(TooLarge, match=r"text fields.*'labels'"):
        received(form(*[part('name="labels"', b"x" * MIB)] * 3), max_field_bytes=2 * MIB)


@pytest.mark.parametrize(
    ("content_type", "says"),
    [
        ("application/json", "send multipart/form-data .* not 'application/json'"),
        ("", "send multipart/form-data"),
        ("multipart/form-data", "no boundary; do not write this header yourself"),
        ("multipart/form-data; boundary=", "no boundary"),
        (f"multipart/form-data; boundary={'x' * 300}", "boundary in the Content-Type cannot be used"),
    ],
)
def test_a_wrong_content_type_says_what_to_send(content_type: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        asyncio.run(uploads.receive(request(b"x", content_type or " "), max_bytes=100))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "cut off"),
        (b"not multipart", "malformed"),
        (b"--other\r\n", "malformed"),
        (form(part('name="a"', b"1"))[:-6], "cut off in part"),
        (part('name="a"; filename="a.jpg"', bytes(99)), "cut off in part 0"),
        (form(part('filename="a.jpg"')), "no name"),
        (form(part('name="a"', headers="X" * 9_000 + ": 1\r\n")), "malformed.*header size"),
        (form(part('name="a"', headers="X-A: 1\r\n" * 20)), "malformed.*header count"),
        (form(part('name="a"; filename="b"', headers="Content-Transfer-Encoding: base64\r\n")), "'base64'-encoded"),
        (form(f"--{BOUNDARY}\r\n\r\nx\r\n".encode()), "no name"),
        (form(f"--{BOUNDARY}\r\nbad header\r\n\r\nx\r\n".encode()), "malformed"),
    ],
)
def test_a_malformed_body_is_refused_in_one_sentence(body: bytes, says: str) -> None:
    for chunk in (65_536, 7):
        with pytest.raises(InvalidInput, match=says):
            received(body, chunk=chunk)


def test_a_client_that_goes_away_leaves_nothing() -> None:
    body = part('name="images"; filename="a"', bytes(9 * MIB))
    with pytest.raises(ClientDisconnect):
        asyncio.run(uploads.receive(request(body, cut=True), max_bytes=1 << 30))
    with pytest.raises(ClientDisconnect):
        asyncio.run(uploads.read_body(request(body, cut=True), 1 << 30))


def test_a_form_is_let_go_of_at_once_and_not_when_somebody_looks_for_garbage() -> None:
    """That is a thousand requests later. Objects are counted that there were none of before."""
    body = form(*[part(f'name="images"; filename="{n}"', b"x") for n in range(5)])
    gc.collect()
    gc.disable()
    try:
        before = of_forms()
        for _ in range(3):
            received(body).close()
        assert of_forms() <= before
    finally:
        gc.enable()


def of_forms() -> int:
    kinds = (multipart.Form, multipart.Part, multipart.Sink, MultipartParser)
    return sum(type(thing) in kinds for thing in gc.get_objects())


def test_a_full_disk_is_said_to_be_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(StorageFull, match="no space left"):
        received(form(part('name="images"; filename="a"', bytes(9 * MIB))))


def test_a_repeated_field_is_refused_where_one_is_meant() -> None:
    with received(form(*[part('name="head"', b"a")] * 2)) as upload:
        with pytest.raises(InvalidInput, match="'head' was sent 2 times"):
            upload.field("head")


def test_text_in_place_of_a_file_tells_of_the_forgotten_at_sign() -> None:
    with received(form(part('name="images"', b"cat.jpg"))) as upload:
        with pytest.raises(InvalidInput, match=r'-F "images=@photo\.jpg"'):
            upload.files("images")


def test_a_field_that_is_not_utf8_names_itself() -> None:
    with received(form(part('name="head"', b"\xff\xfe"))) as upload:
        with pytest.raises(InvalidInput, match="field 'head' is not utf-8 text"):
            upload.field("head")


def test_a_charset_may_be_declared_for_the_part_or_the_form() -> None:
    latin = part('name="a"', "ä".encode("latin-1"), "Content-Type: text/plain; charset=ISO-8859-1\r\n")
    with received(form(latin)) as upload:
        assert upload.field("a") == "ä"
    with received(
        form(part('name="a"', b"\xe4")), f"multipart/form-data; boundary={BOUNDARY}; charset=latin-1"
    ) as upload:
        assert upload.field("a") == "ä"
    odd = part('name="a"', b"x", "Content-Type: text/plain; charset=unicode_escape\r\n")
    with received(form(odd)) as upload, pytest.raises(InvalidInput, match="charset 'unicode_escape'; send UTF-8"):
        upload.field("a")


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("filename*=utf-8''na%C3%AFve%20cat.jpg", "naïve cat.jpg"),
        ("filename*=ISO-8859-1'en'%E4.jpg", "ä.jpg"),
        ("filename=\"plain.jpg\"; filename*=utf-8''other.jpg", "plain.jpg"),  # as RFC 7578 wants it
        ('filename="a\\"b.jpg"', 'a"b.jpg'),
        ('filename="C:\\photos\\cat.jpg"', "cat.jpg"),
        ('filename="cat/1;2.jpg"', "cat/1;2.jpg"),
        ('filename="a\x00b\x1b.jpg"', "ab.jpg"),
    ],
)
def test_file_names_are_read_as_clients_write_them(disposition: str, name: str) -> None:
    with received(form(part(f'name="images"; {disposition}', b"x"))) as upload:
        assert upload.files("images")[0].file_name == name


def test_a_file_name_in_another_charset_is_shown_by_its_bytes() -> None:
    body = form(part('name="images"; filename="?.jpg"', b"x")).replace(b"?", b"\xe4")
    with received(body) as upload:
        assert upload.files("images")[0].file_name == "%E4.jpg"


def test_a_nameless_file_is_a_file_and_an_empty_file_input_is_nothing() -> None:
    raw = part('name="images"', b"\xff\xd8", "Content-Type: image/jpeg\r\n")
    unchosen = part('name="images"; filename=""', b"", "Content-Type: application/octet-stream\r\n")
    empty = part('name="images"; filename="empty.jpg"', b"")
    with received(form(raw, unchosen, empty)) as upload:
        assert [(file.file_name, file.size) for file in upload.files("images")] == [("", 2), ("empty.jpg", 0)]


def test_a_text_file_may_stand_for_a_field() -> None:
    with received(
        form(part('name="manifest"; filename="m.csv"', b"file_name,label", "Content-Type: text/csv\r\n"))
    ) as up:
        assert up.field("manifest") == "file_name,label"
        assert up.part("manifest") is up.parts[0] and up.part("other") is None


def test_a_raw_body_arrives_whole() -> None:
    for size in (0, 10, 3 * MIB):
        data = os.urandom(size)
        for chunk in (65_536, 1 << 30):
            assert asyncio.run(uploads.read_body(request(data, "image/jpeg", chunk=chunk), 3 * MIB)) == data
