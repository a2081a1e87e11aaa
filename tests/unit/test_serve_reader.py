"""Decoding images within a budget: which images are ordinary, and how the sandbox handles all others."""

import contextlib
import io
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from serve.engine import cheap_images, reader
from serve.engine import sandbox_jobs as jobs
from serve.engine.reader import SandboxedReader
from serve.engine.sandbox import Crashed, Exhausted, Sandbox
from serve.http.errors import BadRequest, TooLarge, Unavailable
from serve.preprocess import UnreadableImage
from serve.user_model.signature import Signature, Tensor, TensorModel
from tests import hostile

SPEC = InputSpec("data", 3, 32, 32, 36, "crop", (0.5,) * 3, (0.25,) * 3)
MB = 2**20


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with 64 MB and one second for each job, one job at a time."""
    sandbox = Sandbox(64 * MB, 1, jobs=1, queue=1, patience=30)
    yield sandbox
    sandbox.close()


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(mode: str, width: int = 60, height: int = 44) -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 4), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def is_ordinary(data: bytes, spec: InputSpec) -> bool:
    return cheap_images.reduced_size(data, spec) is not None


def test_no_request_waits_for_the_import_of_the_image_format_plugins() -> None:
    """Pillow imports five of them for a process's first image, which takes 25 ms of CPU time."""
    files = [encode(noise("RGB"), kind) for kind in preprocess.FORMATS]
    program = f"""
import sys
from serve.engine.reader import Reader, SandboxedReader
from serve.engine.sandbox import Sandbox
from serve.artifact import InputSpec
SandboxedReader(Sandbox({64 * MB}, 1, 1, 1, 1))
before = set(sys.modules)
for data in {files!r}:
    Reader().image(data, {SPEC!r}).load()
print(sorted(set(sys.modules) - before))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


# --- which images are ordinary --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ordinary", "data"),
    [
        (True, encode(noise("RGB"), "JPEG")),
        (True, encode(noise("L"), "JPEG")),
        (True, encode(noise("CMYK"), "JPEG")),
        (True, encode(noise("RGB"), "JPEG", exif=Image.Exif().tobytes(), icc_profile=bytes(200_000), comment=b"c")),
        (True, encode(noise("RGB", 4000, 3000), "JPEG")),
        (True, encode(noise("RGB"), "PNG")),
        (True, encode(noise("L"), "PNG")),
        (True, encode(noise("RGB").quantize(16), "PNG")),
        (False, encode(noise("RGB"), "JPEG", progressive=True)),
        (False, hostile.jpeg_of_segments(1000)),
        (False, hostile.jpeg_of_segments(30, hostile.photoshop_segment())),
        (False, encode(noise("RGB"), "JPEG")[:100]),
        (False, encode(noise("RGBA"), "PNG")),
        (False, encode(noise("RGB").quantize(16), "PNG", transparency=1)),
        (False, encode(noise("RGB"), "PNG", transparency=(1, 2, 3))),
        (False, hostile.png(8, 8, hostile.GREY, depth=16)),
        (False, hostile.png(5000, 4000)),
        (False, hostile.png_of_chunks(200)),
        (False, encode(noise("RGB"), "PNG", save_all=True, append_images=[noise("L").convert("RGB")])),
        *((False, encode(noise("RGB"), kind)) for kind in ("GIF", "BMP", "PPM", "WEBP", "TIFF")),
        (False, b""),
        (False, b"\xff\xd8"),
        (False, b"\x89PNG\r\n\x1a\n"),
        (False, b"a text"),
    ],
)
def test_baseline_jpegs_of_one_scan_and_plain_pngs_are_ordinary(ordinary: bool, data: bytes) -> None:
    assert is_ordinary(data, SPEC) is ordinary


def test_a_jpeg_whose_first_scan_lacks_components_is_not_ordinary() -> None:
    data = bytearray(encode(noise("RGB"), "JPEG"))
    data[data.index(b"\xff\xda") + 4] = 1
    assert not is_ordinary(bytes(data), SPEC)


def test_the_scan_of_a_thumbnail_inside_a_segment_does_not_count() -> None:
    thumbnail = encode(noise("RGB"), "JPEG", progressive=True)
    data = encode(noise("RGB"), "JPEG")
    segment = b"\xff\xe1" + (2 + len(thumbnail)).to_bytes(2) + thumbnail
    assert is_ordinary(data[:2] + segment + data[2:], SPEC)


@pytest.mark.parametrize(
    ("width", "height", "spec", "ordinary"),
    [
        (10_000, 10_000, SPEC, True),  # decoded at an eighth
        (10_000, 10_000, replace(SPEC, resize=3000), False),  # at a half
        (4_000, 4_000, replace(SPEC, resize=4000), True),
        (4_001, 4_000, replace(SPEC, resize=4000), False),
        (65_000, 300, replace(SPEC, resize=300), False),
        (65_000, 300, replace(SPEC, rule="pad", height=520, width=520, resize=520), True),
    ],
)
def test_the_number_of_pixels_decoded_for_the_model_decides(
    width: int, height: int, spec: InputSpec, ordinary: bool
) -> None:
    data = bytearray(encode(Image.new("L", (8, 8)), "JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = height.to_bytes(2) + width.to_bytes(2)
    assert is_ordinary(bytes(data), spec) is ordinary


# --- the same results -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGBA", "PNG", {}),
        ("LA", "PNG", {}),
        ("1", "TIFF", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("CMYK", "TIFF", {}),
        ("RGB", "BMP", {}),
        ("RGB", "GIF", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("L", "PPM", {}),
    ],
)
@pytest.mark.parametrize(
    "spec", [SPEC, replace(SPEC, channels=1, mean=(0.5,), std=(0.25,)), replace(SPEC, rule="pad", resize=32)]
)
def test_the_sandbox_gives_the_same_tensor_as_this_process(
    sandbox: Sandbox, mode: str, kind: str, options: dict[str, object], spec: InputSpec
) -> None:
    data = encode(noise(mode), kind, **options)
    assert not is_ordinary(data, spec)
    tensor, size = SandboxedReader(sandbox).image(data, spec).load()
    expected, upright = preprocess.load_sized(data, spec)
    assert (tensor.tobytes(), tensor.shape, size) == (expected.tobytes(), expected.shape, upright)


@given(data=st.binary(max_size=300))
@settings(max_examples=50)
def test_bytes_that_are_not_an_image_are_rejected_with_the_same_reason_as_in_this_process(
    sandbox: Sandbox, data: bytes
) -> None:
    with pytest.raises(UnreadableImage) as in_this_process:
        preprocess.load(data, SPEC)
    with pytest.raises(UnreadableImage) as in_the_sandbox:
        SandboxedReader(sandbox).image(data, SPEC)
    assert str(in_the_sandbox.value).startswith(str(in_this_process.value))


def test_damage_found_in_the_sandbox_is_reported_as_damage(sandbox: Sandbox) -> None:
    data = encode(noise("RGBA"), "PNG")
    with pytest.raises(UnreadableImage, match=r"^is truncated"):
        SandboxedReader(sandbox).image(data[:-200], SPEC)


def test_the_pixel_limit_applies_with_and_without_the_sandbox(sandbox: Sandbox) -> None:
    for data in (encode(noise("RGB"), "PNG"), encode(noise("RGBA"), "PNG")):
        with pytest.raises(UnreadableImage, match="has 60 x 44 pixels, and the limit is 1000"):
            SandboxedReader(sandbox, max_pixels=1000).image(data, SPEC).load()


# --- budgets --------------------------------------------------------------------------------------------------------

MEMORY_EXCEEDED = "takes more than 64 MB to decode; send a smaller one, or a plain JPEG."
TIME_EXCEEDED = "takes more than 1 s to decode; send it as a plain JPEG or PNG."


EXHAUSTING = {
    f"The image of 10000 x 10000 pixels {MEMORY_EXCEEDED}": (
        lambda: hostile.png(10_000, 10_000, hostile.RGBA),
        lambda: hostile.png(10_000, 10_000, hostile.GREY, depth=16),
        lambda: hostile.png(10_000, 10_000, hostile.PALETTE, transparent=True),
    ),
    f"The image of 1 x 100000000 pixels {MEMORY_EXCEEDED}": (lambda: hostile.png(1, 100_000_000, hostile.GREY),),
    "The image of 60000000 x 1 pixels takes more than": (lambda: hostile.bmp(60_000_000),),
    f"The image of 4000 x 4000 pixels {TIME_EXCEEDED}": (lambda: hostile.progressive_jpeg(4000, 1000),),
    f"The image of 4000 x 2500 pixels {TIME_EXCEEDED}": (lambda: hostile.pgm(4000, 2500, 254),),
    "The image's header takes more than": (
        lambda: hostile.jpeg_of_segments(3_000_000),
        lambda: hostile.jpeg_of_segments(600, hostile.photoshop_segment()),
    ),
}


@pytest.mark.parametrize(
    ("message", "make"), [(message, make) for message, makes in EXHAUSTING.items() for make in makes]
)
def test_an_image_that_exhausts_its_budget_is_too_large_and_the_next_one_is_read(
    sandbox: Sandbox, message: str, make: Callable[[], bytes]
) -> None:
    decode = SandboxedReader(sandbox).image
    with pytest.raises(TooLarge) as refused:
        decode(make(), SPEC)
    assert str(refused.value).startswith(message)
    assert decode(encode(noise("RGBA"), "PNG"), SPEC).load()[1] == (60, 44)


def test_a_tile_larger_than_the_declared_image_exhausts_the_memory_too(sandbox: Sandbox) -> None:
    with pytest.raises(TooLarge, match=r"^The image of 16 x 16 pixels takes more than 64 MB to decode"):
        SandboxedReader(sandbox).image(hostile.tiff_of_a_tile(20_000), SPEC)


def test_an_image_that_its_decoder_rejects_for_lack_of_memory_is_reported_as_damaged_or_too_large(
    sandbox: Sandbox,
) -> None:
    with pytest.raises(UnreadableImage, match=r"^is damaged .*, or takes more than 64 MB to decode"):
        SandboxedReader(sandbox).image(hostile.webp(), SPEC)


def test_a_broken_image_too_large_for_its_budget_is_reported_as_both(sandbox: Sandbox) -> None:
    data = encode(noise("RGBA", 2000, 2000), "PNG")[:-5000]
    with pytest.raises(TooLarge, match=r"The image of 2000 x 2000 pixels takes .* Or it is truncated"):
        SandboxedReader(sandbox).image(data, SPEC)


# --- children -------------------------------------------------------------------------------------------------------


def child_pid(sandbox: Sandbox) -> int:
    """Return the id of the process that waits for a job."""
    SandboxedReader(sandbox).image(encode(noise("RGBA"), "PNG"), SPEC)
    (idle,) = sandbox._idle
    return idle._process.pid


def test_a_child_is_kept_for_the_next_job_and_is_the_first_to_be_killed_by_the_kernel(sandbox: Sandbox) -> None:
    pid = child_pid(sandbox)
    assert child_pid(sandbox) == pid
    with open(f"/proc/{pid}/oom_score_adj") as score:
        assert score.read() == "1000\n"


def test_an_idle_child_that_dies_is_replaced(sandbox: Sandbox) -> None:
    pid = child_pid(sandbox)
    os.kill(pid, signal.SIGKILL)
    sandbox._idle[0]._process.wait(10)
    assert child_pid(sandbox) != pid


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGKILL, Exhausted), (signal.SIGSEGV, Crashed), (signal.SIGPROF, Exhausted)]
)
def test_a_child_that_is_killed_during_a_job_fails_only_that_job(number: int, error: type[Exception]) -> None:
    own_sandbox = Sandbox(64 * MB, 60, jobs=1, queue=1, patience=30)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            own_sandbox.run("image", jobs.image_arguments(SPEC, preprocess.MAX_PIXELS), hostile.pgm(4000, 4000, 254))
        except (Exhausted, Crashed) as caught:
            failed.append(caught)

    pid = child_pid(own_sandbox)
    os.kill(pid, signal.SIGSTOP)  # so that the job cannot end before the signal arrives
    thread = threading.Thread(target=work)
    thread.start()
    while own_sandbox._idle:  # until the job has taken the child
        os.sched_yield()
    os.kill(pid, number)
    os.kill(pid, signal.SIGCONT)
    thread.join(30)
    assert [type(caught) for caught in failed] == [error]
    assert child_pid(own_sandbox) != pid
    own_sandbox.close()


def run_until_rejected(sandbox: Sandbox) -> None:
    while True:
        sandbox.run("image", {}, b"")


def test_jobs_beyond_the_running_and_queued_ones_are_rejected_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    own_sandbox = Sandbox(64 * MB, 60, jobs=1, queue=1, patience=30)
    inside, may_end = threading.Semaphore(0), threading.Event()

    def stand_in(job: str, arguments: dict[str, object], data: bytes) -> tuple[dict[str, object], bytes]:
        inside.release()
        assert may_end.wait(30)
        return {}, b""

    monkeypatch.setattr(own_sandbox, "_run", stand_in)
    threads = [threading.Thread(target=own_sandbox.run, args=("image", {}, b"")) for _ in range(2)]
    threads[0].start()
    assert inside.acquire(timeout=30)
    threads[1].start()
    with pytest.raises(Unavailable, match=r"^The server is busy with 2 requests"):
        run_until_rejected(own_sandbox)  # because the second one may not be in the queue yet
    may_end.set()
    for thread in threads:
        thread.join(30)


def test_an_unexpected_error_in_a_child_is_raised_with_its_traceback(sandbox: Sandbox) -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'spec'"):
        sandbox.run("image", {}, b"\xff")


# --- texts, and images that a model decodes itself ------------------------------------------------------------------

MODEL = TensorModel(
    "test", {"serving_default": Signature((Tensor("x", "float32", None),), (Tensor("y", "float32", None),), "a.onnx")}
)


@pytest.mark.parametrize("rows", [10, 500_000])
def test_a_text_body_gives_the_same_call_in_this_process_and_in_the_sandbox(rows: int) -> None:
    own_sandbox = Sandbox(512 * MB, 60, jobs=1, queue=1, patience=60)
    data = b"\n".join(b"%d" % (row % 100) for row in range(rows))
    assert (len(data) > reader.MAX_CHEAP_TEXT) == (rows > 10)
    read = SandboxedReader(own_sandbox).text(data, "text/csv", MODEL)
    call = read.call() if isinstance(read, reader.Text) else read
    own_sandbox.close()
    assert call.rows == rows
    assert np.array_equal(call.inputs["x"], np.arange(rows, dtype=np.float32) % 100)


def test_a_long_text_body_is_rejected_with_the_same_reason_as_a_short_one(sandbox: Sandbox) -> None:
    with pytest.raises(BadRequest, match="is empty: send at least one row"):
        SandboxedReader(sandbox).text(b"[]" + b" " * reader.MAX_CHEAP_TEXT, "application/json", MODEL)


@pytest.mark.parametrize(
    ("data", "media"),
    [(b"1\n" * 10_000_000, "text/csv"), (b'{"instances":[' + b"[]," * 2_000_000 + b"[]]}", "application/json")],
    ids=["csv", "lists"],
)
def test_a_text_body_that_exhausts_its_budget_is_too_large(sandbox: Sandbox, data: bytes, media: str) -> None:
    with pytest.raises(TooLarge, match=r"^Parsing the text of \d+ bytes takes more than .*; send fewer rows"):
        SandboxedReader(sandbox).text(data, media, MODEL)


def test_images_that_a_model_decodes_itself_are_limited_by_their_total(sandbox: Sandbox) -> None:
    check = SandboxedReader(sandbox).require_cheap
    check([encode(noise("RGB"), "JPEG"), encode(noise("RGBA"), "PNG"), encode(noise("RGB"), "WEBP"), b"\xff\xd8 text"])
    check([hostile.png(2000, 1900)])
    frames = [Image.new("P", (1000, 1000), number) for number in range(5)]
    animation = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    for images in (
        [hostile.png(3000, 3000)],
        [hostile.png(2900, 2900, hostile.RGBA)],
        [hostile.png(1500, 1500)] * 2,
        [animation],
        [encode(noise("RGB"), "JPEG"), hostile.png(2900, 2900)],
    ):
        with pytest.raises(
            TooLarge, match=r"^The request's images have \d+ pixels: decoding them takes more than 64 MB"
        ):
            check(images)
    check([b"BMW is a car", b"RIFF is a word too"])  # texts, for a model that takes texts
    with pytest.raises(BadRequest, match=r"damaged .*, or takes more than 64 MB to decode"):
        check([hostile.webp()])
    with pytest.raises(BadRequest, match=r"^An image of the request is truncated"):
        check([encode(noise("RGBA"), "PNG")[:-200]])
    with pytest.raises(TooLarge, match=r"^Decoding the request's images takes more than 1 s"):
        check([hostile.progressive_jpeg(1000, 500)] * 100)


# --- ordinary images, compared with Pillow --------------------------------------------------------------------------

headers = st.builds(
    lambda sides, *rest: (b"IHDR", struct.pack(">IIBBBBB", *sides, *rest)),
    st.sampled_from(((8, 8), (40, 50))),
    *(st.sampled_from(values) for values in ((1, 8, 16), (0, 2, 3, 6), (0,), (0,), (0, 1))),
)
chunks = headers | st.sampled_from(
    (
        *((b"IDAT", zlib.compress(bytes(40 * 50 * 9))), (b"IDAT", b""), (b"PLTE", bytes(6)), (b"IEND", b"")),
        *((b"tRNS", b"\0\0"), (b"acTL", struct.pack(">II", 2, 0)), (b"teSt", b"IHDR")),
        (b"iCCP", b"p\0\0" + zlib.compress(bytes(5000))),
    )
)
FRAME = struct.pack(">HBHHB", 17, 8, 8, 16, 3) + bytes((1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0))
COMMENT, SCAN = b"\xff\xfe", b"\xff\xda\x00\x0c\x03" + bytes((1, 0, 2, 0, 3, 0, 0, 63, 0))
segments = st.sampled_from(
    (
        *(marker + FRAME for marker in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2", COMMENT + b"\x00\x15\xff\xc0")),
        *(SCAN, COMMENT + b"\x00\x02", b"\xff", b"\x00", b"\xff\x00", b"\xff\xd8", b"\xff\xd0"),
    )
)


@given(parts=st.lists(chunks, min_size=1, max_size=6), first=headers)
@settings(max_examples=400)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_an_ordinary_png_has_the_size_that_pillow_reads_and_nothing_expensive(
    parts: list[tuple[bytes, bytes]], first: tuple[bytes, bytes]
) -> None:
    data = b"\x89PNG\r\n\x1a\n" + b"".join(hostile.png_chunk(*part) for part in (first, *parts))
    size = cheap_images.size(data)
    with contextlib.suppress(OSError, ValueError, SyntaxError), Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        if size is not None:
            assert (image.size, image.mode in ("1", "L", "P", "RGB")) == (size, True)
            image.load()
            assert not image.info.get("interlace")
            assert "transparency" not in image.info


@given(parts=st.lists(segments, min_size=1, max_size=8))
@settings(max_examples=400)
def test_an_ordinary_jpeg_has_the_size_that_pillow_reads_and_one_scan(parts: list[bytes]) -> None:
    data = b"\xff\xd8" + b"".join(parts) + bytes(64)
    size = cheap_images.size(data)
    with contextlib.suppress(OSError, ValueError, SyntaxError), Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        if size is not None:
            assert (image.size, "progressive" in image.info) == (size, False)


def test_a_fill_byte_does_not_hide_the_frame_that_decoders_read() -> None:
    """Read as a marker, the fill byte would have a length of 0xC200. At that offset, a comment holds another frame."""
    start = b"\xff\xd8\xff\xff\xc2" + FRAME
    hidden = b"\xff\xc0" + FRAME + SCAN
    comment = bytes(2 + 2 + 0xC200 - len(start) - 4) + hidden
    data = start + COMMENT + (2 + len(comment)).to_bytes(2) + comment + SCAN + bytes(64)
    assert data.index(hidden) == 2 + 2 + 0xC200
    assert cheap_images.size(data) is None
