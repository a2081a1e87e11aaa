"""The state of a job, saved in a file."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from train import state

ARRAYS = arrays.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, np.dtype(">i4")]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
KEYS = st.text().filter(lambda key: key != "__array__")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | ARRAYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
STATES = st.dictionaries(KEYS, VALUES, max_size=4)
one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def same_state(a: Any, b: Any) -> bool:
    """Return whether two states are equal bit for bit. A NaN equals a NaN."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same_state, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


@one_folder
@given(STATES)
def test_a_state_is_read_back_bit_for_bit(tmp_path: Path, written: state.State) -> None:
    state.write(tmp_path / "state", written)
    state.check(tmp_path / "state")
    assert same_state(state.read(tmp_path / "state"), written)


def test_arrays_that_are_views_are_written_in_the_order_of_their_elements(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    written = {"turned": array.T, "second": array[::-1, :, ::2], "fortran": np.asfortranarray(array[0])}
    state.write(tmp_path / "state", written)
    assert same_state(state.read(tmp_path / "state"), {name: value.copy(order="C") for name, value in written.items()})


@pytest.mark.parametrize(
    "value",
    [{1}, b"bytes", np.array([None]), np.float32(1), np.zeros(1, [("a", "f4")])],
    ids=["set", "bytes", "objects", "scalar", "records"],
)
def test_a_value_that_a_state_cannot_hold_is_rejected_and_nothing_is_written(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^a state cannot hold a "):
        state.write(tmp_path / "state", {"a": [value]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read", [state.read, state.check])
@one_folder
@given(written=STATES, data=st.data())
def test_a_state_with_any_flipped_bits_is_rejected_with_its_name(
    tmp_path: Path, read: Any, written: state.State, data: st.DataObject
) -> None:
    path = tmp_path / "state"
    state.write(path, written)
    content = bytearray(path.read_bytes())
    bits = data.draw(st.sets(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=5))
    for bit in bits:
        content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(ValueError, match="state is damaged or incomplete: "):
        read(path)


@pytest.mark.parametrize("read", [state.read, state.check])
@one_folder
@given(written=STATES, data=st.data())
def test_a_truncated_or_extended_state_is_rejected_with_its_name(
    tmp_path: Path, read: Any, written: state.State, data: st.DataObject
) -> None:
    path = tmp_path / "state"
    state.write(path, written)
    content = path.read_bytes()
    length = data.draw(st.integers(0, len(content) + 40).filter(lambda length: length != len(content)))
    path.write_bytes((content + bytes(40))[:length])
    with pytest.raises(ValueError, match="state is damaged or incomplete: "):
        read(path)


@given(st.binary(max_size=400))
@one_folder
def test_any_other_file_is_rejected_with_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(ValueError, match="state is damaged or incomplete: "):
        state.read(tmp_path / "state")


def test_a_file_of_another_program_with_a_valid_checksum_is_rejected_with_its_name(tmp_path: Path) -> None:
    content = b"\x89PNG\r\n"
    (tmp_path / "state").write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(ValueError, match=r"state is not a job state: it starts with '.PNG"):
        state.read(tmp_path / "state")


def test_a_state_of_another_version_is_rejected_with_both_versions(tmp_path: Path) -> None:
    content = b"sagemaker-vision-containers state 2\nwhatever it may hold"
    (tmp_path / "state").write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(state.OtherVersion, match=r"state has format version 2, .* reads version 1$"):
        state.read(tmp_path / "state")
