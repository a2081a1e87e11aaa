"""The state of a job as a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from train import state

ARRAYS = arrays.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
KEYS = st.text().filter(lambda key: key != "__array__")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | ARRAYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    """Whether two states are alike, bit for bit, a NaN like a NaN."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_a_state_that_is_read_is_the_one_that_was_written_bit_for_bit(tmp_path: Path, written: state.State) -> None:
    state.write(tmp_path / "state", written)
    assert same(state.read(tmp_path / "state"), written)


@pytest.mark.parametrize(
    "value", [{1}, b"bytes", np.array([None]), np.float32(1)], ids=lambda value: type(value).__name__
)
def test_what_a_state_cannot_hold_is_refused_and_nothing_is_written(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^a state cannot hold a "):
        state.write(tmp_path / "state", {"a": [value]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04 not a zip file"])
def test_another_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(ValueError, match="state is not the state of a job: "):
        state.read(tmp_path / "state")


def test_a_state_that_was_cut_off_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state.write(path, {"a": np.arange(1000)})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match="state is not the state of a job: "):
        state.read(path)
