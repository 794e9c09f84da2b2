"""What was sent is recognised by its bytes, and named in the refusal; foreign formats that are read, are."""

import base64
import io
from importlib import util

import numpy as np
import pytest
from PIL import Image

from adapters.errors import InvalidImage
from adapters.modalities import image as modality
from adapters.modalities.image import Preprocessing, formats, raster

PREPROCESSING = Preprocessing(32, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
needs_heic = pytest.mark.skipif(util.find_spec("pillow_heif") is None, reason="the extra heic is not installed")


def picture() -> Image.Image:
    y, x = np.mgrid[0 : 1 : 60 * 1j, 0 : 1 : 80 * 1j]
    return Image.fromarray((np.stack([x, y, 1 - x * y], axis=-1) * 200 + 20).astype(np.uint8))


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return modality.pixels(data, PREPROCESSING)


PHOTO = encoded(picture(), "JPEG", quality=95)
FTYP = b"\x00\x00\x00\x18ftyp"
STRANGERS = {
    "empty": (b"", "the file is empty (0 bytes)"),
    "zeros": (bytes(5000), "nothing but zero bytes"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF; send its pages as images"),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
    "svg after a comment": (b"<!-- made by hand --><svg width='4'/>", "an SVG drawing"),
    "html": (b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", "an HTML page"),
    "html in capitals": (b"\r\n  <HTML><HEAD>", "an HTML page"),
    "html in utf-16": ("\ufeff<html><body>".encode("utf-16-le"), "an HTML page"),
    "html with a drawing": (b"<html><body><svg></svg>", "an HTML page"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
    "json": (b'{"error": "not found"}', "JSON text"),
    "json list": (b'[{"id": 1}]', "JSON text"),
    "json numbers": (b"[1, 2]", "JSON text"),
    "settings": (b"[network]\nname=x\n", "it is text"),
    "link": (b"[InternetShortcut]\r\nURL=https://example.com/cat.jpg\r\n", "a link (.url)"),
    "hex": (PHOTO[:200].hex().encode(), "the text of hexadecimal digits"),
    "hex with spaces": (PHOTO[:200].hex(" ").upper().encode(), "the text of hexadecimal digits"),
    "tga": (bytes([0, 0, 2, *bytes(9), 8, 0, 8, 0, 24, 0]) + bytes(range(192)), "a TGA image"),
    "tga of a palette": (
        bytes([0, 1, 1, 0, 0, 4, 0, 24, 0, 0, 0, 0, 8, 0, 8, 0, 8, 0]) + bytes(range(76)),
        "a TGA image",
    ),
    "cursor": (bytes([0, 0, 2, 0, 1, 0, 32, 32, 0, 0, 1, 0, 1, 0]) + bytes(range(99)), "a Windows cursor"),
    "text": ("Grüße aus dem Süden, BMW".encode(), "it is text"),
    "text that begins as a bmp": (b"BMW, 3 series, blue", "it is text"),
    "base64": (base64.b64encode(PHOTO), "the text of base64"),
    "base64 in lines": (base64.encodebytes(PHOTO), "the text of base64"),
    "base64 for urls": (base64.urlsafe_b64encode(bytes(range(256)) * 2), "the text of base64"),
    "data address": (b"data:image/png;base64,iVBORw0KGgo=", "a data: address"),
    "web address": (b"https://example.com/cat.jpg", "a web address"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
    "zip": (b"PK\x03\x04\x14\x00", "a zip archive"),
    "gzip": (b"\x1f\x8b\x08\x00", "a gzip archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00", "a 7z archive"),
    "mp4": (FTYP + b"isom\x00\x00\x02\x00isommp41", "a video"),
    "quicktime": (FTYP + b"qt  \x00\x00\x02\x00qt  ", "a video"),
    "webm": (b"\x1a\x45\xdf\xa3\x01\x00", "a Matroska or WebM video"),
    "avi": (b"RIFF\x00\x00\x01\x00AVI LIST", "AVI"),
    "jpeg 2000": (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    "jpeg xl": (b"\xff\x0a\xfa\x01", "JPEG XL"),
    "jpeg xl in a box": (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    "jpeg xr": (b"II\xbc\x01\x20\x00\x00\x00", "JPEG XR"),
    "psd": (b"8BPS\x00\x01\x00\x00", "a Photoshop document"),
    "ico": (b"\x00\x00\x01\x00\x01\x00\x10\x10", "a Windows icon"),
    "exr": (b"v/1\x01\x02\x00\x00\x00", "OpenEXR"),
    "hdr": (b"#?RADIANCE\nFORMAT=", "Radiance HDR"),
    "pgm": (b"P5\n4 4\n255\n" + bytes(range(16)), "a PNM or PFM image"),
    "pgm with a comment": (b"P2 # made by hand\n4 4\n", "a PNM or PFM image"),
    "dicom": (bytes(128) + b"DICM\x02\x00\x00\x00", "DICOM"),
    "fits": (b"SIMPLE  =                    T" + b" " * 50, "FITS"),
    "npy": (b"\x93NUMPY\x01\x00v\x00", "a NumPy array"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "cr2": (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "a camera raw (Canon CR2)"),
    "cr3": (FTYP + b"crx \x00\x00\x00\x01crx isom", "a camera raw (Canon CR3)"),
    "orf": (b"IIRO\x08\x00\x00\x00", "a camera raw (Olympus ORF)"),
    "rw2": (b"IIU\x00\x18\x00\x00\x00", "a camera raw (Panasonic RW2)"),
    "raf": (b"FUJIFILMCCD-RAW 0201", "a camera raw (Fujifilm RAF)"),
    "x3f": (b"FOVb\x00\x00\x02\x00", "a camera raw (Sigma X3F)"),
    "unknown": (b"\x07\x01\x02\x03\xfe\xfd" * 40, "the bytes are not JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_was_sent_instead_is_named(name: str) -> None:
    data, says = STRANGERS[name]
    for check in (modality.probe, modality.verify, decoded, lambda data: modality.preview(data, 50)):
        for given in (data, memoryview(data)):
            with pytest.raises(InvalidImage) as caught:
                check(given)
            assert caught.value.message.startswith("not an image: ") and says in caught.value.message
    assert modality.media_type(data) == "application/octet-stream"


def test_no_prefix_of_a_stranger_hides_an_image() -> None:
    for format in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"):
        data = encoded(picture(), format)
        assert modality.probe(data).facts["format"] == format
        assert modality.media_type(data) == f"image/{format.lower()}"


@pytest.mark.parametrize(
    "start", [b"", b"\x00", bytes(300), b"\xff" * 300, b"II*\x00", b"MM\x00*\x00\x00\x00\x08", FTYP]
)
def test_any_few_bytes_are_refused_in_one_sentence(start: bytes) -> None:
    random = np.random.default_rng(5)
    for magic in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF89a", b"II*\x00", b"MM\x00+", FTYP + b"heic"):
        for size in (0, 1, 40, 400):
            for check in (modality.probe, modality.verify, decoded):
                with pytest.raises(InvalidImage) as caught:
                    check(magic + start + random.bytes(size))
                assert "\n" not in caught.value.message and "0x7f" not in caught.value.message


def test_the_reason_of_a_decoder_is_passed_on() -> None:
    png = encoded(picture(), "PNG")
    with pytest.raises(InvalidImage, match="Unsupported BMP compression"):
        bmp = encoded(picture(), "BMP")
        modality.probe(bmp[:30] + b"\x04" + bmp[31:])
    with pytest.raises(InvalidImage, match="not a readable PNG: it ends inside of its chunk IHDR"):
        modality.probe(png[:30])
    with pytest.raises(InvalidImage, match="the form of iPhone apps"):
        modality.probe(png[:8] + b"\x00\x00\x00\x04CgBI" + bytes(8) + png[8:])


# Formats that are read


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_avif_is_read(subsampling: str) -> None:
    data = encoded(picture(), "AVIF", quality=95, subsampling=subsampling)
    assert np.abs(decoded(data).astype(int) - decoded(encoded(picture(), "PNG"))).mean() < 2
    assert modality.probe(data).facts == {"format": "AVIF", "width": 80, "height": 60}


@needs_heic
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_heic_is_read(bits: int) -> None:
    import pillow_heif

    pixels = np.asarray(picture())
    if bits == 8:
        file = pillow_heif.from_pillow(picture())
    else:
        file = pillow_heif.from_bytes("RGB;16", picture().size, (pixels.astype(np.uint16) << 8).tobytes())
        pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    out = io.BytesIO()
    file.save(out, quality=95)
    pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    assert np.abs(decoded(out.getvalue()).astype(int) - decoded(encoded(picture(), "PNG"))).mean() < 3
    assert modality.probe(out.getvalue()).facts == {"format": "HEIC", "width": 80, "height": 60}


@needs_heic
@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_turns_of_avif_and_heic_are_applied_once(format: str) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = picture().transpose(Image.Transpose.ROTATE_90)
    stored.info["exif"] = exif.tobytes()  # given so, pillow_heif writes the box `irot`; Pillow does from `exif`
    data = encoded(stored, format, quality=95, **({"exif": exif} if format == "AVIF" else {}))
    assert b"irot" in data
    assert np.abs(decoded(data).astype(int) - decoded(encoded(picture(), "PNG"))).mean() < 3


@needs_heic
def test_alpha_of_avif_and_heic_lies_over_white() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    for format in ("AVIF", "HEIF"):
        assert (decoded(encoded(Image.new("RGBA", (40, 40), (255, 0, 0, 0)), format, quality=95)) >= 253).all()


@needs_heic
def test_of_several_images_in_a_heic_the_primary_one_counts() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    images = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    data = encoded(images[0], "HEIF", save_all=True, append_images=images[1:], primary_index=1, quality=95)
    assert decoded(data).mean(axis=(0, 1))[2] > 200


def test_heic_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "HEIC_IS_READ", False)
    monkeypatch.setattr(raster, "_heic", raster._heic.__wrapped__)
    with pytest.raises(InvalidImage, match=r"it is HEIC; convert it to JPEG, or ask .* its extra 'heic'"):
        modality.probe(FTYP + b"heic\x00\x00\x00\x00mif1heic" + bytes(100))


@pytest.mark.parametrize("brands", [b"mif1....mif1heic", b"heix....heix", b"msf1....msf1hevc", b"mif1....mif1"])
def test_a_heic_that_is_cut_off_is_called_heic(brands: bytes) -> None:
    head = (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands.replace(b"....", bytes(4))
    with pytest.raises(InvalidImage, match="HEIC"):
        modality.probe(head + bytes(40))
    assert modality.media_type(head + bytes(40)) == "image/heic"
    assert modality.media_type(head.replace(b"heic", b"avif") + bytes(40)).startswith("image/")
