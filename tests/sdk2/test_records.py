"""Probabilities of a served segmenter, read with SageMaker's deserializer as in a notebook."""

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
    """A server for tests.products.serving.cell_logits."""
    with Server(product("serving") / "segmenter") as server:
        yield server.wait_until_ready()


def predict(server: Server, photo: bytes, accept: str) -> bytes:
    """Check the status and media type of the response, and return its body."""
    response = server.request("POST", "/invocations", photo, {"Accept": accept})
    assert (response.status, response.headers["content-type"]) == (200, accept), response.body
    return response.body


@pytest.mark.parametrize("accept", ["application/x-protobuf", "application/x-recordio-protobuf"])
@pytest.mark.parametrize(("width", "height"), [(101, 67), (1, 1)])
def test_sagemakers_sdk_reads_the_probabilities_and_their_argmax_is_the_mask(
    segmenter: Server, accept: str, width: int, height: int
) -> None:
    image = quarters(width, height)
    photo = encode(image, "PNG")
    [record] = read_records(io.BytesIO(predict(segmenter, photo, accept)))
    assert list(record.features["shape"].int32_tensor.values) == [1, 4, height, width]
    predicted = np.array(record.features["target"].float32_tensor.values).reshape(4, height, width)
    np.testing.assert_allclose(predicted.sum(axis=0), 1, atol=1e-5)
    with Image.open(io.BytesIO(predict(segmenter, photo, "image/png"))) as mask:
        assert (predicted.argmax(axis=0) == np.asarray(mask)).all()
    # The cell in the upper left corner has one colour, so its logits are known.
    powers = np.exp([*(20 * value / 255 for value in image.getpixel((0, 0))), 1])
    np.testing.assert_allclose(predicted[:, 0, 0], powers / powers.sum(), atol=1e-5)
