"""TensorFlow Serving's REST API: the requests that its documentation and SageMaker's image accept, and the errors."""

import base64
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serve.http.errors import BadRequest
from serve.user_model import tfserving_rest
from serve.user_model.signature import Signature, Tensor, TensorModel
from serve.user_model.tfserving_rest import Call

JSON = "application/json"
OUT = (Tensor("y", "float32", (None, 1)),)
TWO = Signature(
    (Tensor("tag", "string", (None,)), Tensor("signal", "float32", (None, 3)), Tensor("sensor", "int32", (None, 2, 2))),
    (Tensor("a", "float32", (None,)), Tensor("b", "float32", (None, 2))),
)


def model_of(*shape: int | None, dtype: str = "float32") -> TensorModel:
    """Return a model whose only signature takes one array `x`."""
    return TensorModel("test", {"serving_default": Signature((Tensor("x", dtype, shape),), OUT)})


MODEL = TensorModel("test", {"serving_default": Signature((Tensor("x", "float32", (None, 2)),), OUT), "two": TWO})


def parse(body: Any, model: TensorModel = MODEL, media: str = JSON) -> Call:
    return tfserving_rest.parse(body if isinstance(body, bytes) else json.dumps(body).encode(), media, model)


def rejection(body: Any, model: TensorModel = MODEL, media: str = JSON) -> str:
    with pytest.raises(BadRequest) as refused:
        parse(body, model, media)
    return str(refused.value)


# ---- reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [[1, 2], [3, 4]]},
        {"instances": [{"x": [1, 2]}, {"x": [3, 4]}], "signature_name": "serving_default"},
        [[1, 2], [3, 4]],
        b"\xef\xbb\xbf[[1, 2], [3, 4]]",
        b"[1, 2]\n[3, 4]\n",
    ],
)
def test_rows_are_sent_as_instances_or_as_a_bare_list(body: Any) -> None:
    call = parse(body)
    assert (call.signature, call.rows, list(call.inputs)) == ("serving_default", 2, ["x"])
    assert (call.inputs["x"].dtype, call.inputs["x"].tolist()) == (np.float32, [[1, 2], [3, 4]])


@pytest.mark.parametrize("body", [{"inputs": [[1, 2], [3, 4]]}, {"inputs": {"x": [[1, 2], [3, 4]]}}])
def test_columns_are_sent_as_inputs(body: Any) -> None:
    call = parse(body)
    assert (call.rows, call.inputs["x"].tolist()) == (None, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"1,2\n3,4\n", "text/csv"),
        (b"1.0, 2\r\n\r\n3,4", "text/csv"),
        (b"1,2\r3,4\r", "text/csv"),
        (b"[1, 2]\n[3, 4]\n", "application/jsonlines"),
        (b'{"x": [1, 2]}\r\n{"x": [3, 4]}', "application/jsonlines"),
        (b'{"instances": [[1, 2], [3, 4]]}\n', "application/jsonlines"),
    ],
)
def test_csv_and_json_lines_hold_one_row_per_line(body: bytes, media: str) -> None:
    assert parse(body, media=media).inputs["x"].tolist() == [[1, 2], [3, 4]]


def test_a_bare_array_of_one_rank_less_is_one_row_and_gets_a_batch_dimension() -> None:
    photo = np.arange(12).reshape(2, 2, 3)
    for body in (photo[None].tolist(), photo.tolist()):
        call = parse(body, model_of(None, 2, 2, 3))
        assert (call.rows, call.inputs["x"].shape) == (1, (1, 2, 2, 3))


def test_a_flat_bare_array_is_one_row_of_an_input_of_any_rank_and_a_nested_one_is_rows() -> None:
    model = TensorModel("test", {"serving_default": Signature((Tensor("x", "float32", None),), OUT)})
    for body, rows, shape in (([1, 2, 3], 1, (1, 3)), ([[1, 2, 3]], 1, (1, 3)), ([[1], [2]], 2, (2, 1))):
        call = parse(body, model)
        assert (call.rows, call.inputs["x"].shape) == (rows, shape)
    assert parse({"instances": [1, 2, 3]}, model).rows == 3
    assert parse(b"1\n2\n", model, "text/csv").rows == 2


def test_a_bare_value_is_one_row() -> None:
    assert parse(5, model_of(None)).inputs["x"].tolist() == [5]
    assert parse(b"7\n8\n", model_of(None), "text/csv").inputs["x"].tolist() == [7, 8]


def test_rows_of_several_inputs_are_objects_and_give_the_same_arrays_as_columns() -> None:
    rows = [
        {"tag": "foo", "signal": [1, 2, 3], "sensor": [[1, 2], [3, 4]]},
        {"tag": {"b64": base64.b64encode(b"\xff").decode()}, "signal": [4, 5, 6], "sensor": [[5, 6], [7, 8]]},
    ]
    by_row = parse({"signature_name": "two", "instances": rows})
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    by_column = parse({"signature_name": "two", "inputs": columns})
    assert by_row.inputs["tag"].tolist() == [b"foo", b"\xff"]
    assert by_row.inputs["sensor"].dtype == np.int32
    assert {name: value.tolist() for name, value in by_row.inputs.items()} == {
        name: value.tolist() for name, value in by_column.inputs.items()
    }


def test_numbers_that_are_not_finite_are_read() -> None:
    row = parse(b'{"instances": [[NaN, -Infinity]]}').inputs["x"][0]
    assert np.isnan(row[0])
    assert row[1] == -np.inf


@given(arrays.arrays(np.float32, arrays.array_shapes(max_dims=4, max_side=4), elements=st.floats(width=32)))
def test_every_array_of_floats_is_unchanged_by_reading_and_writing(values: np.ndarray) -> None:
    model = model_of(*[None] * values.ndim)
    call = parse({"inputs": values.tolist()}, model)
    np.testing.assert_array_equal(call.inputs["x"], values)
    back = json.loads(tfserving_rest.write(call, {"y": call.inputs["x"]}))["outputs"]
    np.testing.assert_array_equal(np.array(back, np.float32).reshape(values.shape), values)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner)
       | st.dictionaries(st.sampled_from(["instances", "inputs", "x", "b64", "signature_name"]), inner)))  # fmt: skip
def test_any_json_gives_a_call_or_an_error_with_a_reason(body: Any) -> None:
    for model in (
        MODEL,
        model_of(None, dtype="string"),
        model_of(None, 2, dtype="uint8"),
        model_of(None, dtype="bool"),
    ):
        try:
            call = parse(body, model)
        except BadRequest as error:
            assert len(str(error)) > 20  # noqa: PT017 - an error and a call are both valid
        else:
            (value,) = call.inputs.values()
            assert value.dtype in (np.float32, np.uint8, np.bool_, object)


def test_a_csv_cell_that_is_too_long_is_rejected_as_csv() -> None:
    with pytest.raises(BadRequest, match=r"not valid CSV: field larger than field limit \(131072\)"):
        parse(b"1," + b"2" * 200_000, media="text/csv")


@given(st.binary(max_size=60), st.sampled_from(tfserving_rest.JSON))
@example(b"\r\x00", tfserving_rest.CSV)
def test_any_bytes_give_a_call_or_an_error(body: bytes, media: str) -> None:
    try:
        parse(body, media=media)
    except BadRequest as error:
        assert str(error)  # noqa: PT017


# ---- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is not JSON (line 1, column 1: Expecting value)."),
        (b'{"instances": [1,]}', "The body is not JSON (line 1, column 18: "),
        (b'{"x": "\xff"}', "The body is not UTF-8 text (byte 7)."),
        (b"[" * 100_000, "The JSON in the body is nested too deeply."),
        (b"1" * 5000, "The JSON in the body cannot be read: Exceeds the limit"),
        ({"instances": [[1, 2]], "inputs": 1}, 'The body must hold either "instances" (rows) or "inputs" (columns).'),
        ({"instances": 3}, '"instances" must be a list with one element per row'),
        ({"instances": []}, '"instances" is empty: send at least one row.'),
        ([], '"instances" is empty'),
        ({"examples": []}, '"examples" (classify and regress) is not supported'),
        ({"instances": [[1, 2]], "signature_name": "tow"}, "\"signature_name\" is 'tow'; it must be one of serving_"),
        ({"instances": [[1, 2]], "signature_name": 3}, "\"signature_name\" is '3'; it must be one of"),
        ({"instances": [[1, 2], [3]]}, '"instances" contains lists of different lengths: input \'x\' takes float32'),
        ({"instances": [[1, 2, 3]]}, "\"instances\" has the shape (1, 3); input 'x' takes float32 (any, 2)."),
        ({"instances": [["1", "2"]]}, "\"instances\" contains text: input 'x' takes float32, numbers in lists"),
        ({"instances": [[True, False]]}, '"instances" contains true or false: '),
        ({"instances": [[1, None]]}, '"instances" contains null, objects, mixed values or numbers with too many'),
        ({"instances": [{"z": [1, 2]}]}, "\"instances\" has objects with keys other than the only input of 'serving"),
        ({"inputs": {"z": [[1, 2]]}}, "The signature 'serving_default' takes the inputs x; the request has 'z'."),
        ({"inputs": [1], "signature_name": "two"}, "\"inputs\" must be an object with the inputs of 'two': tag, sig"),
        ({"instances": [1], "signature_name": "two"}, '"instances" must contain objects with a value for each'),
        ({"instances": [{"tag": "x"}, {}], "signature_name": "two"}, '"instances" has objects with different keys'),
        ({"inputs": {"tag": ["x"]}, "signature_name": "two"}, "The signature 'two' takes the inputs tag, signal"),
    ],
)  # fmt: skip
def test_an_invalid_request_is_rejected_with_the_error_and_its_position(body: Any, message: str) -> None:
    assert rejection(body).startswith(message)


@pytest.mark.parametrize(
    ("dtype", "row", "message"),
    [
        ("int32", 1.5, "contains numbers with a fraction: input 'x' takes int32, whole numbers"),
        ("int8", 128, "has numbers outside -128 to 127: input 'x' takes int8"),
        ("uint8", -1, "has numbers outside 0 to 255: input 'x' takes uint8"),
        ("bool", 1, "contains numbers: input 'x' takes bool, true and false"),
        ("string", 1, "contains '1': it takes strings, or {\"b64\": ...} for bytes."),
        ("string", {"b64": "?"}, 'has a "b64" that is not base64'),
    ],
)
def test_values_that_do_not_fit_the_type_of_an_input_are_rejected(dtype: str, row: Any, message: str) -> None:
    assert message in rejection({"instances": [row]}, model_of(None, dtype=dtype))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int64", [2**63, -1]),
        ("int64", [-(2**63) - 1]),
        ("int32", [2**70, 1]),
        ("uint64", [2**64]),
        ("uint64", [2**63, -1]),
    ],
)
def test_whole_numbers_outside_the_range_of_an_input_are_rejected_however_long_they_are(
    dtype: str, values: list[int]
) -> None:
    limits = np.iinfo(dtype)
    message = f"\"instances\" has numbers outside {limits.min} to {limits.max}: input 'x' takes {dtype}, whole numbers"
    assert rejection({"instances": values}, model_of(None, dtype=dtype)).startswith(message)


def test_whole_numbers_of_64_bits_are_read_exactly() -> None:
    """NumPy turns a list with numbers on both sides of 2**63 into floats, which hold 53 bits."""
    assert parse({"instances": [2**64 - 1, 3]}, model_of(None, dtype="uint64")).inputs["x"].tolist() == [2**64 - 1, 3]
    rows = [[2**63 - 1, -(2**63)], [2**53 + 1, 0]]
    assert parse({"instances": rows}, model_of(None, 2, dtype="int64")).inputs["x"].tolist() == rows


def test_strings_in_lists_of_different_lengths_are_rejected() -> None:
    assert "different lengths" in rejection({"instances": [["a"], ["b", "c"]]}, model_of(None, None, dtype="string"))
    assert "different lengths" in rejection({"instances": ["a", ["b"]]}, model_of(None, dtype="string"))


def test_a_model_without_a_default_signature_requires_a_name() -> None:
    model = TensorModel("test", {"one": TWO, "two": TWO})
    assert rejection({"inputs": {}}, model) == '"signature_name" is missing; it must be one of one, two.'


# ---- writing ----------------------------------------------------------------------------------------------------


def test_one_output_is_written_as_a_list_and_several_as_objects_by_row_or_by_column() -> None:
    a, b = np.array([1.5, 2.5], np.float32), np.array([[1, 2], [3, 4]], np.float32)
    rows, columns = Call("two", {}, 2), Call("two", {}, None)
    assert json.loads(tfserving_rest.write(rows, {"b": b})) == {"predictions": [[1, 2], [3, 4]]}
    assert json.loads(tfserving_rest.write(columns, {"b": b})) == {"outputs": [[1, 2], [3, 4]]}
    assert json.loads(tfserving_rest.write(rows, {"a": a, "b": b})) == {
        "predictions": [{"a": 1.5, "b": [1, 2]}, {"a": 2.5, "b": [3, 4]}]
    }
    assert json.loads(tfserving_rest.write(columns, {"a": a, "b": b})) == {
        "outputs": {"a": [1.5, 2.5], "b": [[1, 2], [3, 4]]}
    }


def test_text_is_written_as_text_and_bytes_as_base64() -> None:
    words, data = np.array([b"caf\xc3\xa9", b"\xff"], object), np.array([b"png", b"\xff"], object)
    document = json.loads(tfserving_rest.write(Call("x", {}, 2), {"word": words, "image_bytes": data}))
    assert document["predictions"] == [
        {"word": "café", "image_bytes": {"b64": "cG5n"}},
        {"word": {"b64": "/w=="}, "image_bytes": {"b64": "/w=="}},
    ]


def test_an_output_without_a_row_for_each_instance_must_be_requested_by_column() -> None:
    with pytest.raises(BadRequest, match=r"Output 'y' has the shape \(\) instead of 2 rows, one per instance"):
        tfserving_rest.write(Call("x", {}, 2), {"y": np.float32(1)})
    assert tfserving_rest.write(Call("x", {}, None), {"y": np.array(1, np.float32)}) == '{"outputs": 1.0}'


@pytest.mark.parametrize("depth", [33, 65, 400])
def test_strings_in_lists_nested_too_deeply_are_rejected(depth: int) -> None:
    model = TensorModel(
        "test", {"words": Signature((Tensor("x", "string", None),), (Tensor("y", "string", None),), "a")}
    )
    body = b'{"inputs":' + b"[" * depth + b'"a"' + b"]" * depth + b"}"
    with pytest.raises(BadRequest, match=r"^Input 'x' has lists nested more than 32 deep"):
        tfserving_rest.parse(body, "application/json", model)
    ragged = b'{"inputs":["a",' + b"[" * depth + b'"a"' + b"]" * depth + b"]}"
    with pytest.raises(BadRequest, match="more than 32 deep"):
        tfserving_rest.parse(ragged, "application/json", model)


def test_one_long_string_among_numbers_is_rejected_before_it_makes_a_huge_array() -> None:
    body = json.dumps({"instances": [1.5] * 8000 + ["b" * 20_000]}).encode()
    tracemalloc.start()
    with pytest.raises(BadRequest, match=r'^"instances" contains text: input .x. takes float32'):
        tfserving_rest.parse(body, JSON, model_of(None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
