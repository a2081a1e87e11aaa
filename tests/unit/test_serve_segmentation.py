"""Masks in a response: the choice of its format, and its contents."""

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from serve.artifact import Artifact, InputSpec
from serve.http import headers
from serve.http.errors import NotAcceptable, TooLarge
from serve.tasks import masks, records, segmentation
from serve.tasks.forms import Prediction

NAMES = ("pet", "background", "border")
SPEC = InputSpec("data", 3, 64, 64, 64, "pad", (0.0,) * 3, (1.0,) * 3)
TRIMAPS = Artifact("semantic-segmentation", "fcn_resnet50", NAMES, SPEC, "logits")
LOGITS = np.random.default_rng(0).normal(0, 3, (3, 8, 8)).astype(np.float32)
ANSWER = Prediction(LOGITS, NAMES, 50, 31, SPEC)
MASK = masks.class_ids(LOGITS, (50, 31), SPEC)


def respond(accept: str | None, predicted: Prediction = ANSWER) -> tuple[str, str | bytes]:
    form = headers.choose_form(accept, segmentation.FORMS)
    return form.media, form.encode(predicted)


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("PNG", "P")
        return np.asarray(image)


@pytest.mark.parametrize(
    "accept",
    [
        *(None, "", "*/*", "image/png", "IMAGE/PNG", "image/*", "image/png;q=0.5", "text/html, */*;q=0.1"),
        "image/png, application/json;verbose",
        "application/json;q=0.5, image/png",
        "image/jpeg, image/*",
    ],
)
def test_endpoint_and_batch_respond_with_a_png_mask_as_the_built_in_algorithm_does(accept: str | None) -> None:
    media, data = respond(accept)
    assert media == "image/png"
    assert (pixels(data) == MASK).all()
    assert segmentation.BATCH_FORMS == segmentation.FORMS


@pytest.mark.parametrize("media", ["application/x-protobuf", "application/x-recordio-protobuf"])
@pytest.mark.parametrize("spelling", [str, str.upper, lambda media: f"text/html, {media};q=0.3"])
def test_both_names_of_the_protobuf_form_give_probabilities_and_are_returned(
    media: str, spelling: Callable[[str], str]
) -> None:
    echoed, data = respond(spelling(media))
    assert echoed == media
    expected = masks.probabilities(LOGITS, (50, 31), SPEC)
    assert expected.shape == (3, 31, 50)
    assert data == records.of_tensor(expected.reshape(1, 3, 31, 50))


@pytest.mark.parametrize(
    "accept",
    [
        "application/json;verbose",
        "application/json; verbose=1",
        "application/json",
        "application/*;q=0, application/json;verbose",
    ],
)
def test_json_holds_the_names_the_shares_and_the_mask(accept: str) -> None:
    media, text = respond(accept)
    document = json.loads(text)
    assert media == "application/json"
    assert list(document) == ["width", "height", "classes", "mask"]
    assert (document["width"], document["height"]) == (50, 31)
    assert [(entry["label"], entry["class_id"]) for entry in document["classes"]] == [
        (name, index) for index, name in enumerate(NAMES)
    ]
    shares = [entry["share"] for entry in document["classes"]]
    assert shares == [MASK.ravel().tolist().count(index) / MASK.size for index in range(3)]
    assert sum(shares) == pytest.approx(1)
    assert (pixels(base64.b64decode(document["mask"], validate=True)) == MASK).all()


def test_a_class_without_pixels_has_a_share_of_0() -> None:
    without_background = LOGITS.copy()
    without_background[1] = -1000
    document = json.loads(respond("application/json", replace(ANSWER, values=without_background))[1])
    assert document["classes"][1] == {"label": "background", "class_id": 1, "share": 0.0}


@pytest.mark.parametrize("accept", ["image/jpeg", "application/jsonlines", "application/x-recordio", "image/png;q=0"])
def test_an_unsupported_accept_header_is_rejected_with_the_supported_types(accept: str) -> None:
    with pytest.raises(NotAcceptable) as refusal:
        respond(accept)
    for form in segmentation.FORMS:
        assert str(form) in str(refusal.value)


@pytest.mark.parametrize("media", ["application/x-protobuf", "application/x-recordio-protobuf"])
def test_probabilities_of_more_than_100_mib_are_rejected_with_the_size_and_the_fix(media: str) -> None:
    large = replace(ANSWER, width=4096, height=2134)  # 3 x 4 bytes for each of 8740864 pixels; 2133 rows would fit
    with pytest.raises(TooLarge) as refusal:
        respond(media, large)
    assert refusal.value.status == 413
    assert str(refusal.value) == (
        "The probabilities of 3 classes for 4096 x 2134 pixels would take 104890368 bytes, and the limit is 104857600; "
        "send a smaller photo, or request image/png."
    )
    assert pixels(respond("image/png", large)[1]).shape == (2134, 4096)


def test_probabilities_of_exactly_the_limit_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "MAX_PROBABILITIES", 3 * 50 * 31 * 4)
    assert respond("application/x-protobuf")
    monkeypatch.setattr(segmentation, "MAX_PROBABILITIES", 3 * 50 * 31 * 4 - 1)
    with pytest.raises(TooLarge):
        respond("application/x-protobuf")


def test_custom_attributes_change_nothing() -> None:
    options = segmentation.options(headers.custom_attributes("threshold=x, max_detections=-1, anything"))
    assert (segmentation.postprocess(LOGITS, options) == LOGITS).all()


def test_training_evaluates_the_mask_in_the_png() -> None:
    assert (segmentation.evaluated(ANSWER) == MASK).all()


@pytest.mark.parametrize(
    ("logits", "fits"),
    [
        ((1, 3, 8, 8), True),
        ((1, 3, 32, 32), True),
        ((1, 3, 64, 64), True),
        ((1, 2, 8, 8), False),
        ((1, 3, 8, 9), False),
        ((1, 3, 24, 24), False),
        ((1, 3, 128, 128), False),
        ((1, 3, 0, 0), False),
        ((), False),
        ((3, 8, 8), False),
        ((2, 3, 8, 8), False),
    ],
)
def test_a_graph_fits_if_its_logits_match_the_classes_and_its_cells_have_whole_pixels(
    logits: tuple[int, ...], fits: bool
) -> None:
    assert segmentation.fits({"logits": np.zeros(logits, np.float32)}, TRIMAPS) is fits
    assert not segmentation.fits({"logits": np.zeros(logits, np.float64)}, TRIMAPS)
