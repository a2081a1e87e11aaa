"""Compares the hyperparameter tables in docs/ with the code that generates them."""

import pytest

from local.commands import hyperparameters
from local.images import TRAINING
from tests.pages import DOCS


@pytest.mark.parametrize("algorithm", TRAINING)
def test_the_hyperparameter_table_of_each_page_is_up_to_date(algorithm: str) -> None:
    page = DOCS / f"{algorithm}.md"
    table = hyperparameters.table(algorithm)
    start = table.splitlines()[0]
    on_page = page.read_text(encoding="utf-8").partition(f"\n{start}\n")[2].partition("\n\n")[0]
    assert f"{start}\n{on_page}" == table, (
        f"replace the table in {page} with the output of `python3 -m local hyperparameters {algorithm}`"
    )
