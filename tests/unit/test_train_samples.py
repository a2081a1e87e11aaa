"""What train/data/samples.py offers for validation: batches in order, and samples evenly spread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data import samples


@given(st.integers(1, 40), st.integers(1, 9))
def test_batches_in_order_hold_each_tensor_once_and_then_the_last_one_again(count: int, size: int) -> None:
    found = list(samples.ordered_batches(lambda index: np.full((2,), index), count, size))
    rows = np.concatenate(found)[:, 0]
    assert {len(batch) for batch in found} == {min(size, count)}
    assert rows[:count].tolist() == list(range(count))
    assert set(rows[count:]) <= {count - 1}


def test_an_error_in_a_tensor_ends_the_batches_with_it() -> None:
    def tensor(index: int) -> np.ndarray:
        raise KeyError(index)

    with pytest.raises(KeyError):
        list(samples.ordered_batches(tensor, 3, 2))


@given(st.integers(1, 5000), st.integers(1, 200))
def test_spread_samples_are_distinct_as_many_as_asked_for_and_reach_both_ends(count: int, limit: int) -> None:
    found = samples.evenly_spaced(count, limit)
    assert len(found) == min(count, limit)
    assert (np.diff(found) > 0).all()
    assert found[0] == 0
    assert limit == 1 or found[-1] == count - 1
