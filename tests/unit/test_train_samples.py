"""Samples for validation: batches in order, and evenly spaced samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data import samples


@given(st.integers(1, 40), st.integers(1, 9))
def test_ordered_batches_hold_each_tensor_once_and_repeat_only_the_last(count: int, size: int) -> None:
    batches = list(samples.ordered_batches(lambda index: np.full((2,), index), count, size))
    rows = np.concatenate(batches)[:, 0]
    assert {len(batch) for batch in batches} == {min(size, count)}
    assert rows[:count].tolist() == list(range(count))
    assert set(rows[count:]) <= {count - 1}


def test_an_error_while_a_tensor_is_made_ends_the_batches() -> None:
    def tensor(index: int) -> np.ndarray:
        raise KeyError(index)

    with pytest.raises(KeyError):
        list(samples.ordered_batches(tensor, 3, 2))


@given(st.integers(1, 5000), st.integers(1, 200))
def test_evenly_spaced_samples_are_distinct_have_the_requested_number_and_include_both_ends(
    count: int, limit: int
) -> None:
    indices = samples.evenly_spaced(count, limit)
    assert len(indices) == min(count, limit)
    assert (np.diff(indices) > 0).all()
    assert indices[0] == 0
    assert limit == 1 or indices[-1] == count - 1
