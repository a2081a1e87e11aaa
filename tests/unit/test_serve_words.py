"""Helpers for messages: numbers with their nouns, and the line of an error that says what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.words import plural, sentence


@pytest.mark.parametrize(
    ("count", "noun", "expected"),
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
def test_a_number_gets_the_right_form_of_its_noun(count: int, noun: str, expected: str) -> None:
    assert plural(count, noun) == expected


NODE = "\t [[{{node Reshape}}]] [Op:__inference_f_10]"


@pytest.mark.parametrize(
    ("text", "expected"),
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
def test_the_line_that_says_what_is_wrong_is_found(text: str, expected: str) -> None:
    assert sentence(text) == expected


@given(st.text())
def test_any_text_gives_at_most_one_line(text: str) -> None:
    assert len(sentence(text).splitlines()) <= 1
