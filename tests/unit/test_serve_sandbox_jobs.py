"""The jobs of the sandbox: their messages are read back as sent."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.engine import sandbox_jobs as jobs
from serve.http.errors import BadRequest
from serve.user_model import tfserving_rest
from serve.user_model.signature import Signature, Tensor, TensorModel

OUTPUTS = (Tensor("out", "float32", None),)
MODEL = TensorModel(
    "test",
    {
        "serving_default": Signature((Tensor("x", "float32", (None, None)),), OUTPUTS, "a.onnx"),
        "words": Signature((Tensor("text", "string", None),), OUTPUTS, "b.onnx"),
        "both": Signature((Tensor("a", "int64", None), Tensor("b", "bool", (None,))), OUTPUTS, "c.onnx"),
    },
)

words = st.one_of(st.text(), st.binary().map(lambda data: {"b64": base64.b64encode(data).decode()}))
bodies = st.one_of(
    st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2), min_size=1).map(
        lambda rows: {"instances": rows}
    ),
    st.lists(words).map(lambda texts: {"signature_name": "words", "inputs": texts}),
    st.lists(st.lists(words, min_size=3, max_size=3)).map(lambda texts: {"signature_name": "words", "inputs": texts}),
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.booleans()), min_size=1).map(
        lambda rows: {"signature_name": "both", "instances": [{"a": a, "b": b} for a, b in rows]}
    ),
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=3), st.lists, max_leaves=5
    ).map(lambda value: {"instances": value}),
)


def outcome(call: Any) -> Any:
    """Return the contents of a call, or the arguments of its error."""
    try:
        result = call()
    except BadRequest as error:
        return error.args
    return (
        result.signature,
        result.rows,
        {name: (array.dtype, array.shape, array.tolist()) for name, array in result.inputs.items()},
    )


@given(body=bodies)
@settings(max_examples=200)
def test_a_body_read_as_a_job_gives_the_same_call_or_error_as_in_this_process(body: dict[str, Any]) -> None:
    data, media = json.dumps(body).encode(), "application/json"
    arguments = json.loads(json.dumps(jobs.call_arguments(media, MODEL)))

    def as_a_job() -> tfserving_rest.Call:
        document, content = jobs.text(arguments, data, lambda note: None)
        return jobs.parse_call((json.loads(json.dumps(document)), content))

    assert outcome(as_a_job) == outcome(lambda: tfserving_rest.parse(data, media, MODEL))


def test_a_large_csv_keeps_its_numbers() -> None:
    data = b"\n".join(b"%d,%d" % (row, row + 1) for row in range(1000))
    call = jobs.parse_call(jobs.text(jobs.call_arguments("text/csv", MODEL), data, lambda note: None))
    assert call.rows == 1000
    assert np.array_equal(call.inputs["x"], np.arange(1000)[:, None] + [0, 1])


def test_a_rejection_in_a_job_is_raised_unchanged() -> None:
    with pytest.raises(BadRequest, match="is empty: send at least one row"):
        jobs.parse_call(jobs.text(jobs.call_arguments("application/json", MODEL), b"[]", lambda note: None))
