"""Detections: box suppression, checked by hand and against a slow reference, and the formats of responses."""

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.artifact import Artifact, InputSpec, Nms
from serve.http import headers
from serve.http.errors import BadRequest, NotAcceptable
from serve.tasks import detection
from serve.tasks.forms import Prediction

NMS = Nms(threshold=0.5, top_k=400, score_floor=0.01)
WHOLE, LEFT, RIGHT = (0, 0, 1, 1), (0, 0, 0.5, 1), (0.5, 0, 1, 1)


def select(candidates: Sequence[tuple[Sequence[float], Sequence[float]]], nms: Nms = NMS) -> list[list[float]]:
    """Return the detections for anchors, each given as (class scores, box)."""
    scores = np.array([scores for scores, _ in candidates], np.float32)
    boxes = np.array([box for _, box in candidates], np.float32)
    detections = detection.select(scores, boxes, nms)
    assert detections.dtype == np.float32
    assert detections.shape[1:] == (6,)
    return detections.tolist()


def row(index: int, score: float, *box: float) -> list[float]:
    return np.array([index, score, *box], np.float32).tolist()


# --- suppression ----------------------------------------------------------------------------------------------------


def test_the_best_of_several_overlapping_boxes_of_a_class_is_kept() -> None:
    assert select([([0.5], WHOLE), ([0.9], WHOLE), ([0.7], (0, 0, 1, 0.9))]) == [row(0, 0.9, *WHOLE)]


def test_boxes_of_different_classes_do_not_suppress_each_other() -> None:
    assert select([([0.1, 0.9], WHOLE), ([0.8, 0.05], WHOLE)]) == [row(1, 0.9, *WHOLE), row(0, 0.8, *WHOLE)]


def test_rows_of_all_classes_are_sorted_by_descending_score() -> None:
    detections = select([([0.2, 0], LEFT), ([0.6, 0], RIGHT), ([0, 0.4], LEFT), ([0, 0.8], RIGHT)])
    assert [score for _, score, *_ in detections] == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_a_suppressed_box_does_not_suppress_others() -> None:
    """Neighbouring boxes have an IoU of 3 / 5. The first and the third have an IoU of 2 / 6."""
    first, second, third = (0, 0, 0.4, 1), (0.1, 0, 0.5, 1), (0.2, 0, 0.6, 1)
    assert select([([0.9], first), ([0.8], second), ([0.7], third)]) == [row(0, 0.9, *first), row(0, 0.7, *third)]


def test_a_box_that_overlaps_by_exactly_the_threshold_is_kept() -> None:
    half = (0, 0, 1, 0.5)
    both = [row(0, 0.9, *WHOLE), row(0, 0.8, *half)]
    assert select([([0.9], WHOLE), ([0.8], half)]) == both
    assert select([([0.9], WHOLE), ([0.8], half)], replace(NMS, threshold=0.4999)) == both[:1]


def test_a_threshold_of_one_keeps_even_identical_boxes() -> None:
    assert len(select([([0.9], WHOLE), ([0.8], WHOLE)], replace(NMS, threshold=1))) == 2


def test_a_score_must_be_above_the_floor() -> None:
    assert select([([0.25], LEFT), ([0.2500001], RIGHT)], replace(NMS, score_floor=0.25)) == [row(0, 0.2500001, *RIGHT)]


def test_top_k_limits_the_candidates_of_all_classes_before_suppression() -> None:
    """The second-best box is suppressed, and the fourth does not take its place."""
    boxes = [([0.9, 0], WHOLE), ([0.8, 0], WHOLE), ([0, 0.7], LEFT), ([0, 0.6], RIGHT)]
    assert select(boxes, replace(NMS, top_k=3)) == [row(0, 0.9, *WHOLE), row(1, 0.7, *LEFT)]


def test_equal_scores_rank_by_class_and_then_by_anchor() -> None:
    boxes = [([0.5, 0.5], LEFT), ([0.5, 0.5], RIGHT)]
    ranked = [row(0, 0.5, *LEFT), row(0, 0.5, *RIGHT), row(1, 0.5, *LEFT), row(1, 0.5, *RIGHT)]
    assert select(boxes) == ranked
    for top_k in (1, 2, 3):
        assert select(boxes, replace(NMS, top_k=top_k)) == ranked[:top_k]


def test_boxes_are_clipped_only_after_suppression() -> None:
    """The clipped boxes are equal. Before clipping, their IoU is 1 / 4."""
    detections = select([([0.9], (-1, -1, 1, 1)), ([0.8], WHOLE)])
    assert detections == [row(0, 0.9, *WHOLE), row(0, 0.8, *WHOLE)]


def test_boxes_without_an_area_or_outside_the_image_are_clipped_to_its_edge() -> None:
    detections = select([([0.9], (0.5, 0.5, 0.5, 0.5)), ([0.8], (0.5, 0.5, 0.5, 0.5)), ([0.7], (1.5, -2, 2, -1))])
    assert detections == [row(0, 0.9, *[0.5] * 4), row(0, 0.8, *[0.5] * 4), row(0, 0.7, 1, 0, 1, 0)]


def test_huge_boxes_cause_no_warning_and_suppress_nothing() -> None:
    huge = (-3e38, -3e38, 3e38, 3e38)
    assert select([([0.9], huge), ([0.8], LEFT)]) == [row(0, 0.9, *WHOLE), row(0, 0.8, *LEFT)]


def test_scores_at_the_floor_or_no_anchors_give_no_rows() -> None:
    assert select([([0.01, 0], WHOLE)]) == []
    assert detection.select(np.zeros((0, 3), np.float32), np.zeros((0, 4), np.float32), NMS).shape == (0, 6)


def iou(first_box: Sequence[float], other: Sequence[float]) -> Fraction:
    """Return the exact intersection over union of two boxes, or 0 if neither has an area."""
    a, b = ([Fraction(edge) for edge in box] for box in (first_box, other))
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - common
    return common / union if union else Fraction(0)


def reference(scores: np.ndarray, boxes: np.ndarray, nms: Nms) -> list[list[float]]:
    """Return the detections, computed pair by pair from the definition."""
    pairs = [(-score, index, anchor) for anchor, row in enumerate(scores.tolist()) for index, score in enumerate(row)]
    best = [pair for pair in sorted(pairs) if -pair[0] > np.float32(nms.score_floor)][: nms.top_k]
    kept: list[tuple[float, int, int]] = []
    for negative, index, anchor in best:
        rivals = [boxes[other].tolist() for _, same, other in kept if same == index]
        if not any(iou(rival, boxes[anchor].tolist()) > Fraction(nms.threshold) for rival in rivals):
            kept.append((negative, index, anchor))
    return [[index, -negative, *boxes[anchor].clip(0, 1).tolist()] for negative, index, anchor in kept]


@st.composite
def proposals(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores in multiples of 1/20, so that ties occur, and boxes in multiples of 1/8, some outside the image."""
    anchors, classes = draw(st.integers(0, 12)), draw(st.integers(1, 3))
    scores = draw(st.lists(st.integers(0, 20), min_size=anchors * classes, max_size=anchors * classes))
    eighths = st.tuples(st.integers(-2, 8), st.integers(-2, 8), st.integers(0, 6), st.integers(0, 6))
    boxes = draw(st.lists(eighths, min_size=anchors, max_size=anchors))
    corners = [(left, top, left + width, top + height) for left, top, width, height in boxes]
    return (
        (np.array(scores, np.float32) / np.float32(20)).reshape(anchors, classes),
        np.array(corners, np.float32).reshape(anchors, 4) / np.float32(8),
    )


settings_of_nms = st.builds(
    Nms,
    threshold=st.sampled_from([0.0, 0.25, 0.45, 0.5, 1.0]),
    top_k=st.integers(1, 20),
    score_floor=st.sampled_from([0.0, 0.01, 0.3]),
)


@given(proposed=proposals(), nms=settings_of_nms)
def test_any_proposals_give_the_detections_of_the_reference(proposed: tuple[np.ndarray, np.ndarray], nms: Nms) -> None:
    assert detection.select(*proposed, nms).tolist() == reference(*proposed, nms)


@given(seed=st.integers(0, 2**32 - 1), nms=settings_of_nms)
def test_many_proposals_give_sorted_rows_inside_the_image_and_leave_the_inputs_unchanged(seed: int, nms: Nms) -> None:
    random = np.random.default_rng(seed)
    scores, corners = random.random((300, 5), np.float32), random.uniform(-0.5, 1.5, (300, 2, 2)).astype(np.float32)
    boxes = np.sort(corners, axis=1).reshape(300, 4)
    given_scores, given_boxes = scores.copy(), boxes.copy()
    rows = detection.select(scores, boxes, nms)
    assert 0 < len(rows) <= nms.top_k
    assert (np.diff(rows[:, 1]) <= 0).all()
    assert rows[0, 1] == scores.max()
    assert ((rows[:, 2:] >= 0) & (rows[:, 2:] <= 1)).all()
    assert (rows[:, 2:4] <= rows[:, 4:]).all()
    assert (scores == given_scores).all()
    assert (boxes == given_boxes).all()


# --- custom attributes ----------------------------------------------------------------------------------------------

ROWS = np.array([row(0, score, *WHOLE) for score in (0.9, 0.6, 0.6, 0.3)], np.float32)


def count_rows(header: str | None) -> int:
    """Return how many of the four rows a header leaves, and check that they are the first ones."""
    left = detection.postprocess(ROWS, detection.options(headers.custom_attributes(header)))
    assert left.tolist() == ROWS[: len(left)].tolist()
    return len(left)


@pytest.mark.parametrize(
    ("header", "count"),
    [
        (None, 4),
        ("", 4),
        ("threshold=0.5", 3),
        ("threshold=0.6", 3),
        ("threshold=0.61", 1),
        ("threshold=0", 4),
        ("threshold=1", 0),
        ("threshold=.5", 3),
        ("threshold=5e-1", 3),
        ("max_detections=2", 2),
        ("max_detections=999999999", 4),
        ("threshold=0.5,max_detections=20", 3),
        ("threshold=0.5;max_detections=1", 1),
        (" Threshold = 0.5 , MAX_DETECTIONS = 002 ,, ", 2),
        ("c000b4f9-df62-4c85-a0bf-7c525f9104a4", 4),
        ("tfs-model-name=half_plus_three,topic=a=b;x,max_detections=3", 3),
        ('{"threshold": 0.5}', 4),
    ],
)
def test_custom_attributes_limit_the_rows_and_unknown_ones_are_ignored(header: str | None, count: int) -> None:
    assert count_rows(header) == count


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("threshold=high", "The custom attribute threshold is 'high'; it must be a number from 0 to 1."),
        ("threshold=1.5", "The custom attribute threshold is '1.5'; it must be a number from 0 to 1."),
        ("threshold=-0.1", "threshold is '-0.1'"),
        ("threshold=nan", "threshold is 'nan'"),
        ("threshold=50%", "threshold is '50%'"),
        ("threshold=0_1", "threshold is '0_1'"),
        ("threshold=", "threshold is ''"),
        ("threshold", "threshold is ''"),
        (
            "max_detections=0",
            "The custom attribute max_detections is '0'; it must be a whole number from 1 to 999999999.",
        ),
        ("max_detections=-1", "max_detections is '-1'"),
        ("max_detections=2.0", "max_detections is '2.0'"),
        ("max_detections=" + "9" * 6000, "max_detections is '999"),
        ("max_detections=\u0662", "max_detections is '\u0662'"),
        ("threshold=0.5;threshold=0.6", "The custom attribute threshold is set twice; set it once."),
    ],
)
def test_an_invalid_value_of_a_custom_attribute_is_rejected_with_the_allowed_values(header: str, message: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        count_rows(header)
    assert refusal.value.status == 400
    assert message in str(refusal.value)
    assert len(str(refusal.value)) < 200


@given(header=st.text(max_size=60))
def test_any_text_as_custom_attributes_gives_rows_or_status_400(header: str) -> None:
    try:
        assert 0 <= count_rows(header) <= 4
    except BadRequest:
        return


# --- forms ----------------------------------------------------------------------------------------------------------

NAMES = ("cat", "dog")
SPEC = InputSpec("data", 3, 300, 300, 300, "stretch", (0.0,) * 3, (1.0,) * 3)
DETECTIONS = Prediction(
    np.array([[1, 0.75, 0.25, 0.5, 0.75, 1], [0, 0.5, 0, 0, 0.125, 0.0625]], np.float32), NAMES, 640, 480, SPEC
)
NO_DETECTIONS = replace(DETECTIONS, values=np.empty((0, 6), np.float32))

PREDICTION = {"prediction": [[1, 0.75, 0.25, 0.5, 0.75, 1], [0, 0.5, 0, 0, 0.125, 0.0625]]}
ANNOTATION = {
    "image_size": [{"width": 640, "height": 480, "depth": 3}],
    "annotations": [
        {"class_id": 1, "score": 0.75, "left": 160, "top": 240, "width": 320, "height": 240},
        {"class_id": 0, "score": 0.5, "left": 0, "top": 0, "width": 80, "height": 30},
    ],
}
VERBOSE = {
    "prediction": [
        {"label": "dog", "class_id": 1, "score": 0.75, "box": {"left": 0.25, "top": 0.5, "width": 0.5, "height": 0.5}},
        {"label": "cat", "class_id": 0, "score": 0.5, "box": {"left": 0, "top": 0, "width": 0.125, "height": 0.0625}},
    ]
}


def respond(accept: str | None, predicted: Prediction = DETECTIONS) -> tuple[str, str]:
    form = headers.choose_form(accept, detection.FORMS)
    text = form.encode(predicted)
    assert isinstance(text, str)
    return form.media, text


@pytest.mark.parametrize(
    "accept",
    [
        *(None, "", "*/*", "application/json", "application/*", "application/json;annotation=0"),
        "application/json;charset=utf-8",
        "application/json;annotation=false",
        "text/html, */*;q=0.1",
    ],
)
def test_endpoint_and_batch_respond_as_the_built_in_algorithm_does(accept: str | None) -> None:
    media, text = respond(accept)
    assert (media, json.loads(text)) == ("application/json", PREDICTION)
    assert detection.BATCH_FORMS == detection.FORMS


def test_every_number_of_a_prediction_is_a_float() -> None:
    assert json.dumps(json.loads(respond(None)[1])) == (
        '{"prediction": [[1.0, 0.75, 0.25, 0.5, 0.75, 1.0], [0.0, 0.5, 0.0, 0.0, 0.125, 0.0625]]}'
    )


def test_jsonlines_holds_the_prediction_in_one_line() -> None:
    media, text = respond("application/jsonlines")
    assert (media, json.loads(text)) == ("application/jsonlines", PREDICTION)
    assert text.count("\n") == 1
    assert text.endswith("\n")


@pytest.mark.parametrize(
    "accept",
    [
        "application/json;annotation=1",
        "application/json; annotation=1",
        "APPLICATION/JSON;Annotation=true",
        "application/json;annotation",
        "application/json;annotation;q=0.5",
        "application/json;verbose;annotation=1",
        "application/json;q=0.1, application/json;annotation=1",
    ],
)
def test_annotation_has_the_format_of_the_training_data_in_whole_pixels(accept: str) -> None:
    media, text = respond(accept)
    assert (media, json.loads(text)) == ("application/json", ANNOTATION)
    boxes = [list(annotation.values()) for annotation in json.loads(text)["annotations"]]
    assert all(type(number) is int for index, _, *edges in boxes for number in (index, *edges))


@pytest.mark.parametrize(
    "accept", ["application/json;verbose", "application/json; verbose=1", "*/*;q=0.1, application/json;VERBOSE"]
)
def test_verbose_has_class_names_and_the_size_of_each_box(accept: str) -> None:
    media, text = respond(accept)
    assert (media, json.loads(text)) == ("application/json", VERBOSE)


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "application/x-protobuf"])
def test_an_unsupported_accept_header_is_rejected_with_the_supported_types(accept: str) -> None:
    with pytest.raises(NotAcceptable) as refusal:
        respond(accept)
    for form in detection.FORMS:
        assert str(form) in str(refusal.value)


def test_no_detections_give_an_empty_list_in_every_form() -> None:
    assert respond(None, NO_DETECTIONS)[1] == '{"prediction": []}'
    assert respond("application/jsonlines", NO_DETECTIONS)[1] == '{"prediction": []}\n'
    assert respond("application/json;verbose", NO_DETECTIONS)[1] == '{"prediction": []}'
    assert json.loads(respond("application/json;annotation=1", NO_DETECTIONS)[1]) == ANNOTATION | {"annotations": []}


@given(
    edges=st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), max_size=5),
    width=st.integers(1, 20000),
    height=st.integers(1, 20000),
)
def test_every_form_holds_every_box_and_no_pixel_is_outside_the_image(
    edges: list[tuple[float, float, float, float]], width: int, height: int
) -> None:
    corners = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in edges]
    rows = np.array([(0, 0.5, *corner) for corner in corners], np.float32).reshape(-1, 6)
    predicted = Prediction(rows, NAMES, width, height, SPEC)
    assert json.loads(respond(None, predicted)[1])["prediction"] == rows.tolist()
    verbose = json.loads(respond("application/json;verbose", predicted)[1])["prediction"]
    annotations = json.loads(respond("application/json;annotation=1", predicted)[1])["annotations"]
    for corner, detail, annotation in zip(corners, verbose, annotations, strict=True):
        box = detail["box"]
        sides = box["left"], box["top"], box["left"] + box["width"], box["top"] + box["height"]
        assert sides == pytest.approx(corner, abs=1e-7)
        assert annotation["left"] == pytest.approx(corner[0] * width, abs=0.501)
        assert annotation["top"] + annotation["height"] == pytest.approx(corner[3] * height, abs=0.501)
        assert 0 <= annotation["left"] <= annotation["left"] + annotation["width"] <= width
        assert 0 <= annotation["top"] <= annotation["top"] + annotation["height"] <= height


# --- the graph ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "boxes", "fits"),
    [
        ((1, 9, 2), (1, 9, 4), True),
        ((1, 9, 3), (1, 9, 4), False),
        ((1, 9, 2), (1, 8, 4), False),
        ((1, 9, 2), (1, 9, 5), False),
        ((9, 2), (9, 4), False),
        ((1, 18), (1, 9, 4), False),
    ],
)
def test_a_graph_fits_if_its_scores_and_boxes_match_the_anchors_and_the_classes(
    scores: tuple[int, ...], boxes: tuple[int, ...], fits: bool
) -> None:
    outputs = {"scores": np.zeros(scores, np.float32), "boxes": np.zeros(boxes, np.float32)}
    description = Artifact("object-detection", "ssd", NAMES, SPEC, "boxes", nms=NMS)
    assert detection.fits(outputs, description) is fits
    assert not detection.fits(outputs | {"boxes": np.zeros(boxes, np.float64)}, description)
