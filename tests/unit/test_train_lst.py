"""Files that list images and labels: each line is read exactly, or rejected with its file and line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data import lst
from train.data.samples import Sample
from train.errors import UserError

CLASSES = 3


def read(folder: Path, content: bytes) -> list[Sample[int]]:
    """Return the samples of a .lst file with these bytes."""
    (folder / "a.lst").write_bytes(content)
    return lst.read(folder / "a.lst", "train_lst/a.lst", Path("/photos"), CLASSES, lst.class_id)


# What both a POSIX file name and a line can hold: no NUL, slash, tab or end of line, and no blank at either end.
names = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0/\t\r\n"), min_size=1, max_size=60)


@given(written=st.lists(names.filter(lambda name: name == name.strip(" ") and name[0] != "\ufeff"), max_size=5))
def test_every_name_that_a_line_can_hold_is_read_back(
    written: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = "".join(f"{index}\t1\t{name}\n" for index, name in enumerate(written))
    assert [sample.name for sample in read(tmp_path_factory.mktemp("lst"), lines.encode())] == written


@pytest.mark.parametrize("character", ["\u2028", "\u0085", "\f", "\x1c"])
def test_a_name_is_not_cut_at_characters_that_end_a_line_only_in_unicode(character: str, tmp_path: Path) -> None:
    (sample,) = read(tmp_path, f"0\t2\ta{character}b.jpg\n".encode())
    assert (sample.name, sample.label, sample.path) == (f"a{character}b.jpg", 2, Path(f"/photos/a{character}b.jpg"))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_of_any_system_are_read_and_blank_lines_and_a_byte_order_mark_ignored(
    ending: str, tmp_path: Path
) -> None:
    samples = read(
        tmp_path, b"\xef\xbb\xbf" + ending.join(["0\t1.000\ta.jpg ", "", " \t", "1\t0\tb/c.jpg", ""]).encode()
    )
    assert [(sample.name, sample.label) for sample in samples] == [("a.jpg", 1), ("b/c.jpg", 0)]


def test_a_name_of_255_bytes_is_accepted(tmp_path: Path) -> None:
    assert read(tmp_path, f"0\t1\t{'d' * 255}/{'a' * 255}\n".encode())[0].name == "d" * 255 + "/" + "a" * 255


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1\t1\tcaf\xe9.jpg", " is not UTF-8 (invalid continuation byte: byte 0xe9): save the file as UTF-8"),
        (b"1\t1\ta\0b.jpg", " has a NUL in the path 'a\\x00b.jpg'"),
        (b"1\t1\tsub/" + "\u00e9".encode() * 128, " has a file name of 256 bytes, '\u00e9\u00e9"),
        (b"1\t1", " has 2 tab-separated fields"),
        (b"1 1 a.jpg", " has 1 tab-separated field: it must be "),
        (b"1\t1\tb.jpg\t", " ends in a tab: remove it, so that the line is '1\\t1\\tb.jpg'"),
        (
            b"1\t7\t1\tb.jpg",
            " has 2 labels: without multi_label=1 a sample has one; set multi_label=1 if samples have several, or "
            "remove the first column if it is the index that pandas writes (index=False)",
        ),
        (b"1\tcat\ta.jpg", " has a label that is not a number: 'cat'"),
        (
            b"1\t3\ta.jpg",
            " has the label 3: labels are whole numbers from 0 to 2 (num_classes=3); if yours are 1 to 3, subtract 1 "
            "from each",
        ),
        (b"1\t4\ta.jpg", " has the label 4: labels are whole numbers from 0 to 2 (num_classes=3)\n"),
        (b"0\t1\tb.jpg", " repeats the index '0' of line 1: every index must be unique, and there must be no header"),
    ],
)
def test_an_invalid_line_is_reported_with_its_file_and_number(line: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, b"0\t1\ta.jpg\n\n" + line + b"\n2\t1\tc.jpg\n")
    assert f"{caught.value}\n".startswith(f"train_lst/a.lst, line 3{message}")


@pytest.mark.parametrize("header", ["index\tlabel\tpath", "\tlabel\tpath", "\tid\tclass\tfile", "\t0\t1\t2"])
def test_a_header_is_reported_and_not_read_as_an_image(header: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, f"\ufeff{header}\n0\t1\ta.jpg\n".encode())
    assert str(caught.value).startswith(
        f"train_lst/a.lst, line 1 is a header, {header!r}: remove the line; with pandas"
    )


def test_the_index_of_pandas_before_several_labels_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.lst").write_text("0\t7\t1\t0\t1\ta.jpg\n")
    with pytest.raises(
        UserError, match=r"has 4 label values .* needs num_classes=3 values of 0 or 1; remove the first col"
    ):
        lst.read(tmp_path / "a.lst", "train_lst/a.lst", Path("/photos"), CLASSES, lst.multi_hot)


def test_windows_paths_are_read_and_a_file_name_with_a_backslash_keeps_it(tmp_path: Path) -> None:
    for name in ("Abyssinian/Abyssinian_1.jpg", "a\\b.jpg", "a/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = ["Abyssinian\\Abyssinian_1.jpg", "a\\b.jpg", "gone\\c.jpg"]
    (tmp_path / "a.lst").write_text("".join(f"{index}\t1\t{name}\r\n" for index, name in enumerate(names)))
    samples = lst.read(tmp_path / "a.lst", "train_lst/a.lst", tmp_path, CLASSES, lst.class_id)
    assert [sample.name for sample in samples] == ["Abyssinian/Abyssinian_1.jpg", "a\\b.jpg", "gone\\c.jpg"]
    assert samples[0].path == tmp_path / "Abyssinian" / "Abyssinian_1.jpg"
