"""An image that cannot be read as its maker meant it is refused by name; odd ones are the picture that was meant."""

import importlib.util
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image
from support import odd_files
from support.odd_files import bmp, by_masks, tiff
from support.pictures import encoded, shape, zipped
from support.refusals import FILES, LABELS, ONE_PIXEL, archive, images, post, refused


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
