"""The accepted content types, and the choice of a response's format."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.artifact import InputSpec
from serve.http import headers
from serve.http.errors import NotAcceptable, UnsupportedMediaType
from serve.http.media import media_type, require_image
from serve.tasks import classification
from serve.tasks.forms import Form, Prediction

SPEC = InputSpec("data", 3, 8, 8, 8, "crop", (0.0,) * 3, (1.0,) * 3)
PETS = ("Bengal", "pug", "Sphynx")
PROBABILITIES = [0.25, 0.5, 0.25]

ARRAY = "[0.25, 0.5, 0.25]"
PREDICTION = '{"prediction": [0.25, 0.5, 0.25]}'
VERBOSE = '{"predicted_label": "pug", "labels": ["Bengal", "pug", "Sphynx"], "probabilities": [0.25, 0.5, 0.25]}'


def make_prediction(probabilities: list[float], class_names: Sequence[str]) -> Prediction:
    return Prediction(np.array(probabilities, np.float32), tuple(class_names), width=640, height=480, spec=SPEC)


def respond(accept: str | None, batch: bool = False) -> tuple[str, str | bytes]:
    form = headers.choose_form(accept, classification.BATCH_FORMS if batch else classification.FORMS)
    return form.media, form.encode(make_prediction(PROBABILITIES, PETS))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "image/jpeg",
        "image/png",
        "image/x-anything",
        "image/svg+xml",
        "application/x-image",
        "application/octet-stream",
        "binary/octet-stream",
        "application/x-www-form-urlencoded",
        "IMAGE/JPEG; charset=binary",
        "nonsense",
    ],
)
def test_a_type_that_may_hold_an_image_is_accepted_and_the_bytes_decide(header: str | None) -> None:
    assert require_image(media_type(header)) is None


@pytest.mark.parametrize(
    "header",
    [
        "text/csv",
        "text/plain; charset=utf-8",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/ld+json",
        "application/jsonlines",
        "application/xml",
        "application/zip",
        "application/gzip",
        "application/x-tar",
        "application/x-recordio",
        "application/x-npy",
        "application/pdf",
        "multipart/form-data; boundary=x",
        "video/mp4",
    ],
)
def test_a_type_that_is_not_an_image_is_rejected_with_what_to_send(header: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=r"send the bytes of one image as image/jpeg") as refusal:
        require_image(media_type(header))
    assert refusal.value.status == 415


@pytest.mark.parametrize("accept", [None, "", "*/*", "application/json", "application/*", "*/*;q=0.1", ",,"])
def test_an_endpoint_responds_with_a_bare_array_in_the_order_of_the_labels(accept: str | None) -> None:
    assert respond(accept) == ("application/json", ARRAY)


@pytest.mark.parametrize("accept", [None, "", "*/*", "application/json"])
def test_batch_transform_responds_as_the_built_in_algorithm_does(accept: str | None) -> None:
    assert respond(accept, batch=True) == ("application/json", PREDICTION)


@pytest.mark.parametrize("batch", [False, True])
def test_jsonlines_is_one_line(batch: bool) -> None:
    assert respond("application/jsonlines", batch) == ("application/jsonlines", PREDICTION + "\n")


@pytest.mark.parametrize(
    "accept",
    [
        "application/json;verbose",
        "application/json; verbose",
        "APPLICATION/JSON;Verbose",
        "application/json;verbose=1",
        "application/json;verbose=true",
        "application/json;verbose;q=0.5",
        "application/json;q=0.1, application/json;verbose",
    ],
)
@pytest.mark.parametrize("batch", [False, True])
def test_verbose_json_has_names_probabilities_and_the_label(accept: str, batch: bool) -> None:
    assert respond(accept, batch) == ("application/json", VERBOSE)


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        ("application/json;annotation=1", ARRAY),
        ("application/json;verbose=false", ARRAY),
        ("application/jsonlines;q=0.5, application/json;q=0.9", ARRAY),
        ("application/jsonlines;q=0.9, application/json;q=0.5", PREDICTION + "\n"),
        ("text/html, application/jsonlines", PREDICTION + "\n"),
        ("text/html, */*;q=0.1", ARRAY),
        ("application/json;q=0, */*", PREDICTION + "\n"),
        ("application/json;q=0.2, application/*;q=0.4", PREDICTION + "\n"),
    ],
)
def test_quality_and_order_decide_and_unknown_parameters_are_ignored(accept: str, body: str) -> None:
    assert respond(accept)[1] == body


@pytest.mark.parametrize(
    "accept", ["text/html", "image/png", "application/x-recordio-protobuf", "application/json;q=0", "*/*;q=0"]
)
def test_an_unsupported_accept_header_is_rejected_with_the_supported_types(accept: str) -> None:
    with pytest.raises(NotAcceptable) as refusal:
        headers.choose_form(accept, classification.FORMS)
    assert refusal.value.status == 406
    for form in ("application/json", "application/jsonlines", "application/json;verbose"):
        assert form in str(refusal.value)


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        (None, b"\x89PNG"),
        ("image/png", b"\x89PNG"),
        ("image/*", b"\x89PNG"),
        ("application/json;verbose", None),
        ("application/x-protobuf", b"\x0a"),
        ("application/*;verbose", b"\x0a"),
        ("image/*;q=0.2, application/x-protobuf;q=0.3", b"\x0a"),
    ],
)
def test_a_form_may_be_bytes_of_any_media_type(accept: str | None, body: bytes | None) -> None:
    forms = (Form("image/png", lambda answer: b"\x89PNG"), Form("application/x-protobuf", lambda answer: b"\x0a"))
    if body is None:
        with pytest.raises(NotAcceptable, match=r"request image/png, application/x-protobuf or \*/\*"):
            headers.choose_form(accept, forms)
    else:
        assert headers.choose_form(accept, forms).encode(make_prediction(PROBABILITIES, PETS)) == body


@given(probabilities=st.lists(st.floats(0, 1, width=32), min_size=1), data=st.data())
def test_every_form_holds_every_probability_exactly(probabilities: list[float], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.text(), min_size=len(probabilities), max_size=len(probabilities)))
    decoded = []
    for form in {*classification.FORMS, *classification.BATCH_FORMS}:
        document = json.loads(form.encode(make_prediction(probabilities, names)))
        decoded.append(
            document if isinstance(document, list) else document.get("prediction") or document["probabilities"]
        )
        if form.parameter == "verbose":
            assert document["predicted_label"] == names[probabilities.index(max(probabilities))]
    assert decoded == [probabilities] * 4


@given(accept=st.text(max_size=60))
def test_any_accept_header_gives_a_form_or_status_406(accept: str) -> None:
    try:
        form = headers.choose_form(accept, classification.FORMS)
    except NotAcceptable:
        return
    assert form in classification.FORMS
