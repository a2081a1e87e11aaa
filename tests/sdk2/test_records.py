"""Probabilities of a served segmenter, as a notebook reads them with SageMaker's own deserializer."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sagemaker.amazon.common import read_records

from tests.photos import encode, quarters
from tests.server import Server


@pytest.fixture(scope="module")
def segmenter(product: Callable[[str], Path]) -> Iterator[Server]:
    """The server of tests.products.serving.cell_logits."""
    with Server(product("serving") / "segmenter") as server:
        yield server.wait_until_ready()


def ask(server: Server, photo: bytes, accept: str) -> bytes:
    """The body of a good answer, which has the media type asked for."""
    answer = server.request("POST", "/invocations", photo, {"Accept": accept})
    assert (answer.status, answer.headers["content-type"]) == (200, accept), answer.body
    return answer.body


@pytest.mark.parametrize("accept", ["application/x-protobuf", "application/x-recordio-protobuf"])
@pytest.mark.parametrize(("width", "height"), [(101, 67), (1, 1)])
def test_sagemakers_sdk_reads_the_probabilities_and_the_likeliest_class_is_the_masks(
    segmenter: Server, accept: str, width: int, height: int
) -> None:
    image = quarters(width, height)
    photo = encode(image, "PNG")
    [record] = read_records(io.BytesIO(ask(segmenter, photo, accept)))
    assert list(record.features["shape"].int32_tensor.values) == [1, 4, height, width]
    chances = np.array(record.features["target"].float32_tensor.values).reshape(4, height, width)
    np.testing.assert_allclose(chances.sum(axis=0), 1, atol=1e-5)
    with Image.open(io.BytesIO(ask(segmenter, photo, "image/png"))) as mask:
        assert (chances.argmax(axis=0) == np.asarray(mask)).all()
    # The upper left corner's cell is of one colour, so its logits are known.
    powers = np.exp([*(20 * value / 255 for value in image.getpixel((0, 0))), 1])
    np.testing.assert_allclose(chances[:, 0, 0], powers / powers.sum(), atol=1e-5)
