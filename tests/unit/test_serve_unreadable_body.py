"""How the reason for a rejection describes the bytes of a body."""

import base64
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from serve import preprocess
from serve.http.errors import BadRequest
from serve.http.unreadable_body import unreadable


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((200, 150), 80).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def reason_for(data: bytes) -> str:
    """Return the reason that is sent for a body."""
    with pytest.raises(preprocess.UnreadableImage) as caught:
        preprocess.decode(data)
    return str(BadRequest(unreadable(data, caught.value)))


def test_a_body_that_is_not_an_image_is_rejected_with_its_beginning_and_what_to_send() -> None:
    advice = "send the bytes of one JPEG, PNG, GIF, BMP, PPM, WEBP or TIFF file."
    assert reason_for(b"hello, world") == f"The body is not an image: it starts with 'hello, world'; {advice}"
    assert reason_for(b"hello") == f"The body is not an image: it starts with 'hello'; {advice}"
    shown = "the bytes 00 05 16 07 6d 61"
    assert reason_for(b"\x00\x05\x16\x07macOS") == f"The body is not an image: it starts with {shown}; {advice}"


@pytest.mark.parametrize(
    ("brands", "message"),
    [
        (b"heic\0\0\0\0mif1heic", "The image is a HEIC file, as saved by iPhones: export it as JPEG."),
        (b"mif1\0\0\0\0mif1heic", "The image is a HEIC file, as saved by iPhones: export it as JPEG."),
        (b"hevx\0\0\0\0msf1hevx", "The image is a HEIC file, as saved by iPhones: export it as JPEG."),
        (b"avif\0\0\0\0avifmif1miaf", "The image is an AVIF file: export it as JPEG."),
        (b"mif1\0\0\0\0avifmif1", "The image is an AVIF file: export it as JPEG."),
    ],
)
def test_photos_in_unsupported_formats_of_phones_are_rejected_with_the_formats_name(
    brands: bytes, message: str
) -> None:
    box = b"ftyp" + brands
    assert reason_for((4 + len(box)).to_bytes(4, "big") + box + b"\0\0\x01\x7fmeta" + bytes(50)) == message


def test_another_file_of_the_same_container_format_is_not_called_a_photo() -> None:
    film = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(50) + b"heic"
    assert reason_for(film).startswith(
        "The body is not an image: it starts with the bytes 00 00 00 18 66 74; send the bytes"
    )


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("prefix", [b"", b'"', b"data:image/any;base64,", b" \n"])
def test_base64_is_recognised_and_the_reason_asks_for_the_raw_bytes(form: str, prefix: bytes) -> None:
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, form)
    reason = reason_for(prefix + base64.b64encode(file.getvalue()))
    assert reason.startswith("The body is not an image: it starts with ")
    assert reason.endswith("; it looks like base64: send the raw bytes of the file.")


def test_the_reason_for_a_jpeg_without_line_feeds_says_how_curl_keeps_them() -> None:
    # What `curl --data @photo.jpg` does to a file.
    photo = jpeg()
    reason = reason_for(photo.replace(b"\n", b"").replace(b"\r", b""))
    assert reason.startswith("The image is ")
    assert reason.endswith("; it has no line feeds, which curl --data removes: use curl --data-binary.")
    assert reason_for(photo[:-2000]) == f"The image is truncated ({len(photo) - 2000} bytes arrived)."


def test_an_empty_body_and_too_many_pixels_are_reported_as_such() -> None:
    assert reason_for(b"") == "The image is empty (0 bytes)."
    with pytest.raises(preprocess.UnreadableImage) as caught:
        preprocess.decode(jpeg(), max_pixels=100)
    assert (
        str(BadRequest(unreadable(jpeg(), caught.value)))
        == "The image has 200 x 150 pixels, and the limit is 100 in total."
    )


@given(st.binary(max_size=40))
@example(b"\xff\xd8")
def test_any_bytes_that_cannot_be_read_get_one_printable_sentence(data: bytes) -> None:
    try:
        preprocess.decode(data)
    except preprocess.UnreadableImage as error:
        reason = str(BadRequest(unreadable(data, error)))
        assert reason.isprintable()
        assert reason.endswith(".")
        assert reason[:10] in ("The image ", "The body i")
