"""Bad input gets a clear 4xx that names the item, and leaves nothing behind."""

import importlib.util
import io
import json
import struct
import subprocess
import time
import zipfile
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image
from support import odd_files
from support.odd_files import bmp, by_masks, tiff
from support.pictures import encoded, shape, shapes, zipped
from support.services import MIB, Service, eventually

HEAD = "refused"
GOOD = {f"{k}-{n}.png": shape(k, n) for n in range(4) for k in ("circle", "square")}
LABELS = [name.split("-")[0] for name in GOOD]
FILES = list(GOOD.items())


def png_bomb(side: int) -> bytes:
    """A sound PNG of side × side black pixels in a few hundred kilobytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compressobj(9)
    row = b"\0" * (side // 8 + 2)  # one bit a pixel, and the filter's byte
    packed = b"".join(rows.compress(row * 1000) for _ in range(side // 1000)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def flipped(data: bytes) -> bytes:
    """With one bit in the middle changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


ONE_PIXEL = encoded(Image.new("RGB", (1, 1)))
BAD_IMAGES = {
    "not an image": (b"this is text, not an image", "invalid_image"),
    "empty": (b"", "invalid_image"),
    "truncated PNG": (shape("circle", 0)[:300], "invalid_image"),
    "truncated JPEG": (shape("circle", 0, "JPEG", 256)[:900], "invalid_image"),
    "half a JPEG, closed": (shape("circle", 0, "JPEG", 256)[:2000] + b"\xff\xd9", "invalid_image"),
    "flipped bit in a PNG": (flipped(shape("circle", 0)), "invalid_image"),
    "10 bits in 16": (encoded(Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32))), "invalid_image"),
    "camera raw": (tiff(np.zeros((9, 9), np.uint8), 8, tags={50706: [0x01040000]}), "invalid_image"),
    "HEIC, cut off": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "invalid_image"),
    "1×1": (ONE_PIXEL, "invalid_image"),
    "PNG bomb": (png_bomb(30_000), "image_too_large"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "invalid_image"),
}


@pytest.fixture
def unchanged(server: Service):
    """Compares what the service holds before and after: rows of every table, and blobs."""
    before = eventually(lambda: settled(server))
    yield
    assert server.footprint() == before


def settled(server: Service) -> dict[str, object] | None:
    """What it holds, once it holds still: a moment after a job has ended, its worker lets go of what it needed."""
    found = server.footprint()
    time.sleep(0.1)
    return found if not found["job_examples"] and found == server.footprint() else None


def post(server: Service, files: list, data: dict | None = None, path: str = "/finetune") -> httpx.Response:
    return server.http.post(path, data={"head": HEAD} | (data or {}), files=files)


def refused(answer: httpx.Response, status: int, code: str, *said: str) -> dict:
    """Check the problem and return it: what is in `said` must be in its detail or item."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert problem["status"] == status and problem["title"] and problem["type"] == f"urn:espalier:error:{code}"
    for words in said:
        assert words in f"{problem['detail']} {problem.get('item', '')}", problem
    assert len(answer.content) < 8192, "a problem must not echo what was sent, and lists at most 50 items"
    return problem


def images(files: list[tuple[str, bytes]] = FILES) -> list:
    return [("images", (name, data, "application/octet-stream")) for name, data in files]


def archive(data: bytes) -> list:
    return [("archive", ("data.zip", data, "application/zip"))]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", BAD_IMAGES)
def test_an_unusable_image_is_named_by_finetune(server, name):
    """By its position and file name, whether it came as a file or in an archive."""
    data, code = BAD_IMAGES[name]
    sent = [*FILES[:3], ("broken.png", data), *FILES[3:]]
    labels = {"labels": [*LABELS[:3], "circle", *LABELS[3:]]}
    assert refused(post(server, images(sent), labels), 422, code, "image 3")["item"] == "image 3 (broken.png)"
    folders = [(f"{label}/{file}", body) for label, (file, body) in zip(labels["labels"], sent, strict=True)]
    refused(post(server, archive(zipped(folders))), 422, code, "circle/broken.png")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", BAD_IMAGES)
def test_an_unusable_image_is_named_by_predict_and_embed(server, known, name):
    """By its position; also as a raw body."""
    data, code = BAD_IMAGES[name]
    sent = images([FILES[0], ("broken.png", data)])
    assert refused(post(server, sent, {"head": known}, "/predict"), 422, code)["item"] == "image 1"
    refused(server.http.post("/embed", files=sent), 422, code, "image 1")
    raw = server.http.post("/predict", params={"head": known}, content=data, headers={"Content-Type": "image/png"})
    refused(raw, 422, code, "image 0")


@pytest.fixture(scope="module")
def known(server: Service) -> str:
    """A head that is there."""
    job = server.client.finetune("known", shapes(), method="prototype", wait=60)
    assert server.client.wait(job["id"])["status"] == "succeeded"
    return "known"


def _odd_but_sound() -> dict[str, bytes]:
    """The same picture in ways that were once read as another one, or not at all."""
    pixels = np.ascontiguousarray(load_sample_image("flower.jpg")[:400:2, 100:500:2])
    photo, grey = Image.fromarray(pixels), pixels.mean(axis=-1).astype(np.uint16)
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    unset = np.dstack([pixels, np.zeros((200, 200), np.uint8)])
    turned = photo.transpose(Image.Transpose.ROTATE_90)
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    made = {
        "colour": encoded(photo),
        "AVIF": odd_files.encoded(photo, "AVIF", quality=95),
        "JPEG without its end mark": odd_files.encoded(photo, "JPEG", quality=95)[:-2],
        "JPEG turned by XMP": odd_files.encoded(turned, "JPEG", xmp=xmp, quality=95),
        "PNG with a large profile": odd_files.encoded(photo, "PNG", icc_profile=bytes(2_000_000)),
        "BMP whose alpha is zero": bmp(by_masks(unset, masks), 32, masks=masks, header=124),
        "grey": tiff(grey.astype(np.uint8), 8),
        "grey, 16 bits, zero is white": tiff((255 - grey) * 257, 16, photometric=0),
        "grey, 12 bits": tiff(grey << 4 | grey >> 4, 12),
        "grey, 32 bits": tiff(grey.astype(np.uint32) * 0x01010101, 32),
    }
    if importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()
        made["HEIC"] = odd_files.encoded(photo, "HEIF", quality=95)
    return made


def test_odd_but_sound_images_are_embedded_as_the_picture_that_was_meant(server):
    files = _odd_but_sound()
    answer = server.http.post("/embed", files=images(list(files.items())))
    vectors = dict(zip(files, np.array(answer.json()["embeddings"]), strict=True))
    for name, vector in vectors.items():
        meant = vectors["grey" if name.startswith("grey") else "colour"]
        assert vector @ meant / np.linalg.norm(vector) / np.linalg.norm(meant) > 0.95, name


def _encrypted() -> bytes:
    data = bytearray(zipped(_folders()))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + offset] |= 1
    return bytes(data)


def _bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, data in _folders():
            file.writestr(name, data)
        file.writestr("circle/bomb.bmp", b"\0" * (150 * MIB))
    return out.getvalue()


def _folders() -> list[tuple[str, bytes]]:
    return [(f"{label}/{name}", data) for label, (name, data) in zip(LABELS, FILES, strict=True)]


BAD_ARCHIVES = {
    "not a zip": (lambda: b"PK nonsense", "not a zip"),
    "empty": (lambda: zipped([]), "no images"),
    "bomb": (_bomb, "unpacks to"),
    "path that leads out": (lambda: zipped([*_folders(), ("circle/../../etc/x.png", GOOD["circle-0.png"])]), "../"),
    "absolute path": (lambda: zipped([*_folders(), ("/etc/x.png", GOOD["circle-0.png"])]), "/etc/x.png"),
    "nested": (lambda: zipped([*_folders(), ("circle/inner.zip", zipped(_folders()))]), "inner.zip"),
    "nested in disguise": (lambda: zipped([*_folders(), ("circle/inner.png", zipped(_folders()))]), "inner.png"),
    "encrypted": (_encrypted, "encrypted"),
    "no folders": (lambda: zipped(FILES), "class folder"),
    "something else inside": (lambda: zipped([*_folders(), ("circle/run.exe", b"MZ")]), "run.exe"),
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_an_unsafe_archive_is_refused_and_the_member_named(server, name):
    """Broken, bombs, paths that lead out, nested, encrypted."""
    make, said = BAD_ARCHIVES[name]
    refused(post(server, archive(make())), 422, "invalid_archive", said)


@pytest.mark.usefixtures("unchanged")
def test_an_archive_that_unpacks_to_too_much_is_refused_before_unpacking(server):
    """ESPALIER_MAX_UNPACKED_BYTES is on the sum of all members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(70):
            file.writestr(f"circle/{number}.bmp", bytes(MIB))
    refused(post(server, archive(out.getvalue())), 422, "invalid_archive", "unpacks to", "the limit is")


def many_classes() -> tuple[list, dict]:
    files = [(f"{n}.bmp", encoded(Image.fromarray(np.frombuffer(n.to_bytes(2) * 24, np.uint8).reshape(4, 4, 3)), "BMP"))
             for n in range(10_000)]  # fmt: skip
    return images(files), {"labels": json.dumps([f"class {n}" for n in range(10_000)])}


BAD_LABELS = {
    "fewer labels than images": (LABELS[:-1], "invalid_input", "image 7 (square-3.png)"),
    "more labels than images": ([*LABELS, "circle"], "invalid_input", "9 labels"),
    "one class only": (["circle"] * 8, "not_enough_data", "'circle'"),
    "one image of a class": (["triangle", *LABELS[1:]], "not_enough_data", "triangle"),
    "an empty label": ([*LABELS[:2], "", *LABELS[3:]], "invalid_label", "image 2 (circle-1.png)"),
    "a blank label": ([*LABELS[:2], " \t ", *LABELS[3:]], "invalid_label", "image 2 (circle-1.png)"),
    "a label of a megabyte": ([*LABELS[:2], "x" * 1_000_000, *LABELS[3:]], "invalid_label", "1,000,000 characters"),
    "a label with control characters": ([*LABELS[:2], "a\0b", *LABELS[3:]], "invalid_label", "control characters"),
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", BAD_LABELS)
def test_labels_that_cannot_be_learned_from_are_refused(server, name):
    """Wrong numbers, too few of a class, and labels that are none."""
    labels, code, said = BAD_LABELS[name]
    refused(post(server, images(), {"labels": labels}), 422, code, said)
    if "than images" not in name:
        rows = [{"file_name": f, "label": label} for f, label in zip(GOOD, labels, strict=True)]
        manifest = ("manifest", ("m.jsonl", "\n".join(map(json.dumps, rows)).encode(), "text/plain"))
        refused(post(server, [manifest, *images()]), 422, code)


@pytest.mark.usefixtures("unchanged")
def test_one_image_of_each_class_is_too_few(server):
    """Also when there are 10,000 classes: a few are named, the rest counted."""
    two = post(server, images(FILES[:2]), {"labels": LABELS[:2]})
    refused(two, 422, "not_enough_data", "circle", "square", "at least 2 different images")
    files, labels = many_classes()
    refused(post(server, files, labels), 422, "not_enough_data", "'class 0'", "9995 more")


@pytest.mark.usefixtures("unchanged")
def test_one_image_with_two_labels_is_refused(server):
    """Both are named."""
    twice = [*FILES, ("again.png", FILES[0][1])]
    said = ("circle-0.png", "again.png")
    refused(post(server, images(twice), {"labels": [*LABELS, "square"]}), 422, "invalid_label", *said)


BAD_FIELDS = {
    "a head with a slash": ({"head": "a/b"}, 422, "invalid_input", "head"),
    "a head in capitals": ({"head": "Cats"}, 422, "invalid_input", "head"),
    "a head that is too long": ({"head": "a" * 64}, 422, "invalid_input", "head"),
    "no head": ({"head": ""}, 422, "invalid_input", "head"),
    "an unknown task": ({"task": "sorting"}, 422, "invalid_input", "task"),
    "an unknown method": ({"method": "magic"}, 422, "invalid_input", "magic"),
    "a method that is a path": ({"method": "../logistic"}, 422, "invalid_input", "method"),
    "an unknown hyperparameter": (
        {"method": "logistic", "hyperparameters": '{"depth": 3}'}, 422, "invalid_hyperparameter", "depth",
    ),
    "a hyperparameter of auto": ({"hyperparameters": '{"regularization": 1}'}, 422, "invalid_hyperparameter", "auto"),
    "NaN": ({"method": "logistic", "hyperparameters": '{"regularization": NaN}'}, 422, "invalid_hyperparameter", "NaN"),
    "infinity": (
        {"method": "logistic", "hyperparameters": '{"regularization": 1e999}'}, 422, "invalid_hyperparameter", "inf",
    ),
    "a negative one": (
        {"method": "logistic", "hyperparameters": '{"regularization": -1}'}, 422, "invalid_hyperparameter",
        "'regularization' of logistic: -1 is less than or equal to the minimum of 0",
    ),
    "hyperparameters that are no JSON": (
        {"method": "logistic", "hyperparameters": "{l2: 1}"}, 422, "invalid_hyperparameter", "not JSON",
    ),
    "an unknown backbone": ({"backbone": "vgg"}, 404, "backbone_not_found", "vgg"),
    "an unknown mode": ({"mode": "merge"}, 422, "invalid_input", "mode"),
    "an unknown deploy": ({"deploy": "later"}, 422, "invalid_input", "deploy"),
    "a seed that is no number": ({"seed": "-1"}, 422, "invalid_input", "seed"),
    "an unknown field": ({"epochs": "3"}, 422, "invalid_input", "epochs"),
}  # fmt: skip


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_wrong_field_is_named(server, name):
    """With what there is instead."""
    data, status, code, said = BAD_FIELDS[name]
    refused(post(server, images(), {"labels": LABELS} | data), status, code, said)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("files", "data", "said"),
    [
        ([], {}, "images"),
        (images(), {}, "0 labels"),
        (images() + archive(zipped(_folders())), {"labels": LABELS}, "archive"),
        (archive(zipped(_folders())), {"labels": LABELS}, "labels"),
        ([("images", (None, "text"))], {"labels": ["a"]}, "files"),
    ],
    ids=["nothing", "no labels", "both", "archive with labels", "text for a file"],
)
def test_a_form_that_makes_no_sense_is_refused(server, files, data, said):
    """Which parts go together is said."""
    refused(post(server, files or [("nothing", (None, ""))], data), 422, "invalid_input", said if files else "")


@pytest.mark.usefixtures("unchanged")
def test_a_body_that_is_no_form_is_refused(server):
    """JSON, a cut-off form, and an Idempotency-Key that is too long."""
    refused(server.http.post("/finetune", json={"head": HEAD}), 422, "invalid_input", "multipart/form-data")
    cut = {"Content-Type": "multipart/form-data; boundary=x"}
    body = b'--x\r\nContent-Disposition: form-data; name="head"\r\n\r\nabc'
    refused(server.http.post("/finetune", content=body, headers=cut), 422, "invalid_input", "cut off")
    long = server.http.post(
        "/finetune", data={"head": HEAD, "labels": LABELS}, files=images(), headers={"Idempotency-Key": "k" * 256}
    )
    refused(long, 422, "invalid_input", "Idempotency-Key")


@pytest.mark.usefixtures("unchanged")
def test_what_is_not_there_is_a_404_that_names_it(server, known):
    """Heads, versions, aliases, jobs, backbones."""
    ask = {"files": images(FILES[:1])}
    for head, code in (("nobody", "head_not_found"), (f"{known}@99", "version_not_found"),
                       (f"{known}@canary", "version_not_found")):  # fmt: skip
        refused(server.http.post("/predict", data={"head": head}, **ask), 404, code, head.split("@")[0])
    refused(server.http.post("/embed", data={"backbone": "vgg"}, **ask), 404, "backbone_not_found", "vgg")
    for method, path, code in (
        ("GET", "/heads/nobody", "head_not_found"),
        ("DELETE", "/heads/nobody", "head_not_found"),
        ("GET", f"/heads/{known}/versions/99", "version_not_found"),
        ("GET", f"/heads/{known}/versions/99/head.onnx", "version_not_found"),
        ("DELETE", f"/heads/{known}/versions/99", "version_not_found"),
        ("DELETE", f"/heads/{known}/aliases/canary", "version_not_found"),
        ("GET", "/jobs/job_none", "job_not_found"),
        ("GET", "/jobs/job_none/events", "job_not_found"),
        ("POST", "/jobs/job_none/cancel", "job_not_found"),
    ):
        refused(server.http.request(method, path), 404, code)
    refused(server.http.put(f"/heads/{known}/aliases/live", json={"version": 99}), 404, "version_not_found")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"head": "a/b"}, "a/b"), ({"head": "a@b@c"}, "a@b@c"), ({"head": "a@0"}, "a@0"), ({}, "head"),
        ({"head": "a", "top_k": "0"}, "top_k"), ({"head": "a", "top_k": "many"}, "top_k"),
        ({"head": "a", "on_error": "ignore"}, "on_error"), ({"head": "a", "min_generation": "-1"}, "min_generation"),
        ({"head": "a", "top_k": ["1", "2"]}, "top_k"),
    ],
)  # fmt: skip
def test_a_wrong_option_of_predict_is_named(server, data, said):
    """Each by its name."""
    refused(server.http.post("/predict", data=data, files=images(FILES[:1])), 422, "invalid_input", said)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("path", ["/predict", "/embed", "/finetune", "/heads/{head}/suggest"])
def test_an_option_that_is_not_known_is_refused_wherever_it_comes(server, known, path):
    """In the query, in the form, beside a raw image; and a file by another name than the one there is."""
    path = path.format(head=known)
    refused(server.http.post(f"{path}?coverag=0.9", files=images(FILES[:1])), 422, "invalid_input", "coverag")
    refused(server.http.post(path, data={"topk": "1"}, files=images(FILES[:1])), 422, "invalid_input", "topk")
    wrong = [("file", file) for _, file in images(FILES[:1])]
    said = refused(server.http.post(path, files=wrong), 422, "invalid_input", "file")
    assert "images" in said["detail"]


@pytest.mark.usefixtures("unchanged")
def test_predict_without_images_or_with_too_many_is_refused(server, known):
    """At most 1,024 images and 256 heads by default."""
    none = server.http.post("/predict", files=[("head", (None, known))])
    refused(none, 422, "invalid_input", "images")
    many = server.http.post("/predict", data={"head": known}, files=images([("x", ONE_PIXEL)] * 1025))
    refused(many, 422, "invalid_input", "1025 images")
    heads = server.http.post("/predict", data={"head": [known] * 257}, files=images(FILES[:1]))
    refused(heads, 422, "invalid_input", "257 heads")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("path", ["/finetune", "/predict", "/embed"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_over_the_limit_is_a_413(server, path, declared):
    """By its declared length at once, else as soon as it grows too long; other requests go on."""
    limit = 32 * MIB if path == "/finetune" else 128 * MIB
    body = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n' + bytes(limit)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    content = body if declared else (body[at : at + MIB] for at in range(0, len(body), MIB))
    with httpx.Client(base_url=server.url, timeout=60) as fresh:
        refused(fresh.post(path, content=content, headers=headers), 413, "too_large", f"{limit:,} bytes")
    assert server.client.is_ready()


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 20 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_job_that_never_finds_space_fails_and_the_old_version_serves(home, own_server, small_disk, tmp_path):
    """storage_full after its tries, nothing left behind; with space again the same call succeeds."""
    plan = tmp_path / "plan"
    plan.mkdir()
    (home / "artifacts").rename(tmp_path / "built")
    subprocess.run(["cp", "-r", f"{tmp_path / 'built'}/blobs", str(small_disk)], check=True)
    service = own_server(plan=plan, artifacts_url=small_disk, job_retries=1)
    head = "hold-exporting"
    (plan / "go").touch()
    first = service.client.finetune(head, shapes(), method="prototype")
    assert service.client.wait(first["id"])["status"] == "succeeded"
    (plan / "go").unlink()
    eventually(lambda: not service.rows("job_blobs"))  # the first job has let go of what it wrote on its way
    before = service.blobs()
    second = service.client.finetune(head, shapes(("cross",)), method="prototype")
    eventually(lambda: (plan / f"{second['id']}-exporting").exists())
    _fill(small_disk / "filler")
    (plan / "go").touch()
    ended = service.client.wait(second["id"])
    assert ended["status"] == "failed" and ended["error"]["code"] == "storage_full" and ended["version"] is None
    assert service.client.predict([head], [shape("circle", 90)])["predictions"][0]["version"] == 1
    eventually(lambda: not service.rows("job_examples"))  # what it had sent is deleted after its end
    _fill(small_disk / "more")
    new = images([(name, shape(name.split("-")[0], 600 + n)) for n, name in enumerate(GOOD)])
    refused(post(service, new, {"head": "no-room", "labels": LABELS}), 507, "storage_full")
    for name in ("filler", "more"):
        (small_disk / name).unlink()
    eventually(lambda: service.blobs() <= before)
    assert not service.rows("job_examples") and len(service.rows("versions")) == 1
    third = service.client.finetune(head, shapes(("cross",)), method="prototype")
    assert service.client.wait(third["id"])["status"] == "succeeded"


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def test_a_full_queue_is_a_429_with_retry_after(home, own_server, tmp_path):
    """Jobs over ESPALIER_MAX_JOBS are refused, not queued; nothing of them is stored."""
    plan = tmp_path / "plan"
    plan.mkdir()
    service = own_server(plan=plan, max_jobs=1)
    held = service.client.finetune("hold-validating", shapes(), method="prototype")
    eventually(lambda: (plan / f"{held['id']}-validating").exists())
    before = service.footprint()
    answer = service.http.post("/finetune", data={"head": "more", "labels": LABELS}, files=images())
    refused(answer, 429, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    assert service.footprint() == before
    (plan / "go").touch()
    assert service.client.wait(held["id"])["status"] == "succeeded"


@pytest.mark.parametrize("number", [2**31, 10**20, -1])
def test_numbers_that_no_database_holds_are_refused(server, known, number):
    """A version to point at, a version to look at, and an event to go on after."""
    refused(server.http.put(f"/heads/{known}/aliases/live", json={"version": number}), 422, "invalid_input")
    assert server.http.get(f"/heads/{known}/versions/{number}").status_code in (404, 422)
    assert server.http.get(f"/heads/{known}/report", params={"version": number}).status_code in (404, 422)
    job = server.client.jobs(limit=1)[0]["id"]
    events = server.http.get(f"/jobs/{job}/events", headers={"Last-Event-ID": str(number)})
    refused(events, 422, "invalid_input")
