"""The tables of hyperparameters in docs/, held to the code that they are made from."""

import pytest

from local.commands import hyperparameters
from local.images import TRAINING
from tests.pages import DOCS


@pytest.mark.parametrize("algorithm", TRAINING)
def test_a_page_tells_every_hyperparameter_with_what_is_valid_its_default_and_what_it_does(algorithm: str) -> None:
    page = DOCS / f"{algorithm}.md"
    made = hyperparameters.table(algorithm)
    start = made.splitlines()[0]
    on_page = page.read_text(encoding="utf-8").partition(f"\n{start}\n")[2].partition("\n\n")[0]
    assert f"{start}\n{on_page}" == made, f"put what `python3 -m local hyperparameters {algorithm}` prints into {page}"
