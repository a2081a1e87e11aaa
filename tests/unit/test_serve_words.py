"""The small words of messages: numbers with their nouns, and the line of an error that says what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.words import plural, sentence


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "image", "2 images"),
        (1, "class", "1 class"),
        (21, "rarer class", "21 rarer classes"),
        (2, "box", "2 boxes"),
        (3, "batch", "3 batches"),
        (4, "epoch", "4 epochs"),
    ],
)
def test_a_number_has_its_noun_in_the_right_form(count: int, noun: str, said: str) -> None:
    assert plural(count, noun) == said


NODE = "\t [[{{node Reshape}}]] [Op:__inference_f_10]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no photos", "no photos"),
        ("no photos\nhere", "no photos"),
        ("\n  no photos ", "no photos"),
        ("", ""),
        ("two errors:\n first\n second", "two errors: first"),
        ("an error:", "an error:"),
        (f"Graph execution error:\n\nDetected at node x (most recent call last):\nshape 3, not 4\n{NODE}",
         "Graph execution error: shape 3, not 4"),
        (f"Graph execution error:\n\n2 root error(s) found.\n  (0) INVALID: shape 3\n{NODE}\n  (1) CANCELLED\n{NODE}",
         "Graph execution error: (0) INVALID: shape 3"),
        (f"Graph execution error:\n{NODE}", "Graph execution error:"),
    ],
)  # fmt: skip
def test_the_line_that_says_what_is_wrong_is_found(text: str, said: str) -> None:
    assert sentence(text) == said


@given(st.text())
def test_any_text_has_a_line_or_none(text: str) -> None:
    assert len(sentence(text).splitlines()) <= 1
