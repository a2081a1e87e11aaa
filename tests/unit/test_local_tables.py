"""Tables in `prepare`: CSV, TSV and JSON Lines files of photos and labels, as people and programs write them."""

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from local.datasets import layouts
from local.datasets.dataset import DataSet, Labels
from local.datasets.layouts.pets import reader as official
from local.datasets.layouts.tables import reader as tables
from local.datasets.notes import MISSING, TEST_PHOTOS, TWICE, UNLISTED, UNUSED_CLASSES
from local.errors import UserError
from tests.unit.layouts import prepare, write_files
from tests.unit.official import encode, exif_rotated

PHOTOS = ("1.jpg", "2.jpg", "3.jpg", "4.jpg")


def lay_out(root: Path, files: Mapping[str, str | bytes], photos: tuple[str, ...] = PHOTOS) -> Path:
    """Write text files by name, and empty photos. The layout does not open the photos."""
    return write_files(root, {**files, **dict.fromkeys(photos, b"")})


def labels(data: DataSet[Labels]) -> dict[str, str]:
    """Return the labels of each photo, joined by +, by its path."""
    return {entry.path.relative_to(data.root).as_posix(): "+".join(entry.target) for entry in data.entries}


def read(root: Path, content: str | bytes, name: str = "a.csv", photos: tuple[str, ...] = PHOTOS) -> dict[str, str]:
    """Return the labels that a table gives. It must be recognised as a table."""
    layout = layouts.detect(lay_out(root, {name: content}, photos))
    assert layout.name == "tables"
    return labels(layout.read("classification"))


@pytest.mark.parametrize(
    "content",
    [
        "path,label\n1.jpg,cat\n2.jpg,dog\n",
        "1.jpg,cat\n2.jpg,dog\n",
        "label;Bild\r\ncat;C:\\bilder\\1.jpg\r\ndog;C:\\bilder\\2.jpg\r\n",
        "\ufeffimage\tclass\n1.jpg\tcat\n2.jpg\tdog\n",
        "sep=;\nimage;class\n1.jpg;cat\n2.jpg;dog\n",
        '"path" , "label"\n"1.jpg" , "cat"\n\n"2.jpg" , " dog "\n',
        ",image,label\n0,s3://bucket/x/1.jpg,cat\n1,s3://bucket/x/2.jpg,dog\n",
        "Unnamed: 0,image,kind\n7,1.jpg,cat\n9,2.jpg,dog\n",
        "id,breed\n1,cat\n2,dog\n",
        "file_name,coco_url,label\n1.jpg,http://x/1.jpg,cat\n2.jpg,http://x/2.jpg,dog\n",
        "image,label,class_name,width\n1.jpg,0,cat,9\n2.jpg,1,dog,8\n1.jpg,0,cat,9\n",
        "0,1.jpg,cat\n1,2.jpg,dog\n",
        "Nr.;Datei;Klasse;Notiz\n1;1.jpg;cat;x\n2;2.jpg;dog;\n3;8.jpg;dog;x\n",
        "filename,cat,dog\n1.jpg, 1, 0\n2.jpg, 0, 1\n",
        "image,age,cat,dog\n1.jpg,5,1.0,0.0\n2.jpg,5,0.0,1.0\n",
        "image,age,Final Label\n1.jpg,5,cat\n2.jpg,5,dog\n",
        "1.jpg,cat\r2.jpg,dog\r",
        "path,label\n1.jpg,cat\n2.jpg,dog,,\n",
    ],
)
def test_one_label_per_photo_is_read_with_any_separator_header_and_columns(content: str, tmp_path: Path) -> None:
    assert read(tmp_path, content) == {"1.jpg": "cat", "2.jpg": "dog"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_file_from_excel_is_read_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    text = "Bild\tKlasse\r\nKätzchen, klein.jpg\tMüsli\r\n2.jpg\tdog\r\n"
    data = text.encode(encoding)
    data = data if encoding != "utf-16-be" else b"\xfe\xff" + data
    photo_labels = read(tmp_path, data, "Mappe1.txt", ("Kätzchen, klein.jpg", "2.jpg"))
    assert photo_labels == {"Kätzchen, klein.jpg": "Müsli", "2.jpg": "dog"}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("path,label\n1.jpg,cat|dog\n2.jpg,cat\n3.jpg,dog|dog\n", "a.csv"),
        ("1.jpg,cat; dog\n2.jpg,cat\n3.jpg,dog\n", "a.csv"),
        ('path,label\n1.jpg,"cat,dog"\n2.jpg,cat\n3.jpg,dog\n', "a.csv"),
        ("path,label\n1.jpg,cat dog\n2.jpg,cat\n3.jpg,dog\n", "a.csv"),
        ("path,tags\n1.jpg,cat dog\n2.jpg,cat\n3.jpg,dog\n4.jpg,dog cat\n", "a.csv"),
        ("path,labels\n1.jpg,\"['cat', 'dog']\"\n2.jpg,['cat']\n3.jpg,\"['dog']\"\n", "a.csv"),
        ('image,choice\n1.jpg,"{""choices"":[""cat"",""dog""]}"\n2.jpg,"[""cat""]"\n3.jpg,[dog]\n', "a.csv"),
        ("path,label_1,label_2\n1.jpg,cat,dog\n2.jpg,cat,\n3.jpg,,dog\n", "a.csv"),
        ("UNASSIGNED,gs://b/1.jpg,cat,dog\nTRAIN,gs://b/2.jpg,cat\nTRAIN,gs://b/3.jpg,dog\n", "a.csv"),
        ("image,cat,dog\n1.jpg,1,1\n2.jpg,1,0\n3.jpg,0,1\n", "a.csv"),
        ("image,cat,dog\n1.jpg,True,true\n2.jpg,True,False\n3.jpg,False,True\n", "a.csv"),
        (
            '{"file_name": "1.jpg", "x": ["cat", "dog"]}\n\n'
            '{"file_name": "2.jpg", "x": ["cat"]}\n{"file_name": "3.jpg", "x": "dog"}',
            "metadata.jsonl",
        ),
    ],
)
def test_several_labels_per_photo_are_multi_label(content: str, name: str, tmp_path: Path) -> None:
    photo_labels = read(tmp_path, content, name)
    assert {photo: photo_labels[photo] for photo in PHOTOS[:3]} == {"1.jpg": "cat+dog", "2.jpg": "cat", "3.jpg": "dog"}
    assert tables.classification(tmp_path).multi_label


@pytest.mark.parametrize(
    "names",
    [
        ["golden retriever", "labrador retriever", "cat"],
        ["tench, Tinca tinca", "goldfish, Carassius auratus"],
        ["red car", "red bike", "blue car", "blue bike"],
    ],
)
def test_a_name_of_several_words_is_one_label(names: list[str], tmp_path: Path) -> None:
    content = "".join(f'{photo},"{name}"\n' for photo, name in zip(PHOTOS, names, strict=False))
    assert list(read(tmp_path, content).values()) == names
    assert not tables.classification(tmp_path).multi_label


def test_numeric_class_names_are_ordered_by_value(tmp_path: Path) -> None:
    lay_out(tmp_path, {"a.csv": "path,label\n1.jpg,10\n2.jpg,9\n3.jpg,-1\n"})
    assert tables.classification(tmp_path).class_names == ("-1", "9", "10")


def test_whole_numbers_that_pandas_wrote_as_floats_lose_their_fraction(tmp_path: Path) -> None:
    assert set(read(tmp_path, "path,label\n1.jpg,0.0\n2.jpg,12.0\n3.jpg,\n").values()) == {"0", "12"}


def test_classes_with_a_column_keep_its_order_and_unused_ones_are_left_out(tmp_path: Path) -> None:
    lay_out(tmp_path, {"a.csv": "image,dog,bird,Big  cat\n1.jpg,1,0,0\n2.jpg,0,0,1\n"})
    data = tables.classification(tmp_path)
    assert data.class_names == ("dog", "Big cat")
    assert data.notes[UNUSED_CLASSES] == ["bird"]


@pytest.mark.parametrize(
    "files",
    [
        {"a.csv": "path,label,split\n1.jpg,cat,train\n2.jpg,cat,valid\n3.jpg,cat,test\n4.jpg,dog,\n"},
        {"a.csv": "TRAIN,1.jpg,cat\nVALIDATION,2.jpg,cat\nTEST,3.jpg,cat\nUNASSIGNED,4.jpg,dog\n"},
        {"a.csv": "path,label,set\n1.jpg,cat,Training\n2.jpg,cat,dev\n3.jpg,cat,testing\n4.jpg,dog,extra\n"},
    ],
)
def test_a_column_may_define_the_split_and_a_test_part_is_left_out(files: dict[str, str], tmp_path: Path) -> None:
    data = tables.classification(lay_out(tmp_path, files))
    assert [entry.part for entry in data.entries] == ["train", "validation", ""]
    assert data.notes[TEST_PHOTOS] == ["3.jpg"]


@pytest.mark.parametrize(("name", "flags"), [("is_valid", "01"), ("isTrain", "10")])
def test_a_boolean_column_may_define_the_split(name: str, flags: str, tmp_path: Path) -> None:
    lay_out(tmp_path, {"a.csv": f"path,label,{name}\n1.jpg,cat,{flags[0]}\n2.jpg,cat,{flags[1]}\n"})
    assert [entry.part for entry in tables.classification(tmp_path).entries] == ["train", "validation"]


def test_two_tables_are_the_split_and_refer_to_the_photos_of_their_part(tmp_path: Path) -> None:
    files = {
        "train.csv": "id,cat,dog\n1,1,0\n2,0,1\n",
        "val.csv": "id,cat,dog\n1,0,1\n",
        "test.csv": "id\n1\n",
        "sample_submission.csv": "id,cat,dog\n1,0,1\n",
        "classes.csv": "name,colour\ncat,red\n",
    }
    lay_out(tmp_path, files, ("train/1.jpg", "train/2.jpg", "val/1.jpg", "test/1.jpg"))
    data = tables.classification(tmp_path)
    assert labels(data) == {"train/1.jpg": "cat", "train/2.jpg": "dog", "val/1.jpg": "dog"}
    assert [entry.part for entry in data.entries] == ["train", "train", "validation"]
    assert data.notes["tables of a test part, left out"] == ["sample_submission.csv"]


def test_a_table_next_to_its_photos_is_found_in_the_folder_of_its_part(tmp_path: Path) -> None:
    files = {f"{part}/_classes.csv": "filename, cat, dog\n1.jpg, 1, 1\n2.jpg, 0, 0\n" for part in ("train", "valid")}
    lay_out(tmp_path, files, tuple(f"{part}/{photo}" for part in ("train", "valid") for photo in PHOTOS))
    data = tables.classification(tmp_path)
    assert [entry.part for entry in data.entries] == ["train", "train", "validation", "validation"]
    assert labels(data) == {"train/1.jpg": "cat+dog", "train/2.jpg": "", "valid/1.jpg": "cat+dog", "valid/2.jpg": ""}


def test_photos_left_out_are_listed(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        {"a.csv": "path,label\n1.jpg,cat\n2.jpg,\nno.jpg,cat\n3.jpg,dog\nx/3.jpg,dog\n3.jpg,dog\n"},
        (*PHOTOS, "cat/1.jpg", "test/5.jpg"),
    )
    notes = tables.classification(tmp_path).notes
    assert {why: names for why, names in notes.items() if names} == {
        tables.UNLABELLED: ["2.jpg"],
        MISSING: ["no.jpg", "x/3.jpg"],
        TWICE: ["3.jpg"],
        UNLISTED: ["4.jpg", "cat/1.jpg"],
        TEST_PHOTOS: ["test/5.jpg"],
    }


def test_an_empty_list_means_no_class_and_null_means_no_label(tmp_path: Path) -> None:
    lines = [{"path": "1.jpg", "label": ["a", "b"]}, {"path": "2.jpg", "label": []}, {"path": "3.jpg", "label": None}]
    assert read(tmp_path, "\n".join(map(json.dumps, lines)), "a.jsonl") == {"1.jpg": "a+b", "2.jpg": ""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "path,species,breed\n1.jpg,cat,x\n2.jpg,cat,y\n3.jpg,dog,z\n",
            r"a\.csv has several columns that may hold the label: `species`, `breed`: add a header",
        ),
        (
            "1.jpg,cat,5\n2.jpg,cat,6\n3.jpg,dog,6\n",
            r"several columns that may hold the label: one that starts with 'cat', one that starts with '5': add",
        ),
        (
            "left,right,label\n1.jpg,2.jpg,a\n3.jpg,4.jpg,b\n",
            r"name photos, column left and column right: add a header",
        ),
        ("a,b\n1.jpg,\n2.jpg,\n", r"a\.csv has only a column for photo paths: add a column `label`"),
        ("path,label\n1.jpg,\n", r"a\.csv has only a column for photo paths"),
        ("path,label,split\n1.jpg,cat,test\n", r"has no photo with a label in its tables, except in a test part"),
        ('path,label\n1.jpg,cat\n2.jpg,"dog\n3.jpg,cat', r"a\.csv, line 4: unexpected end of data: quote each cell"),
        (
            "path,label\n1.jpg,cat\n2.jpg,b\udcffd\n",
            r"a\.csv, line 3 is not UTF-8 .*: save the file as UTF-8, in Excel",
        ),
        (
            "path,label\n1.jpg,cat\n1.jpg,dog\n",
            r"a\.csv, line 3 lists 1\.jpg again, differently from a\.csv, line 2: remove",
        ),
        (
            "path,label,split\n1.jpg,a,train\n1.jpg,a,val\n",
            r"line 3 lists 1\.jpg, which a\.csv, line 2 puts into another part",
        ),
        ("path,label\n1.jpg,a\n8.jpg,a\n9.jpg,a\n", r"a\.csv, line 3 names '8\.jpg', which is not below"),
        ("path,label\n1.jpg,a\n2.jpg," + "x" * 200_000, r"a\.csv, line 3: field larger than field limit"),
    ],
)
def test_ambiguous_and_invalid_tables_are_rejected_with_the_file_and_the_fix(
    content: str, message: str, tmp_path: Path
) -> None:
    lay_out(tmp_path, {"a.csv": content.encode(errors="surrogateescape")})
    with pytest.raises(UserError, match=message):
        layouts.detect(tmp_path, "tables").read("classification")


def test_columns_with_the_names_that_the_errors_suggest_are_used(tmp_path: Path) -> None:
    content = "thumb,path,species,label,age\n2.jpg,1.jpg,cat,a,1\n4.jpg,3.jpg,cat,b,1\n"
    assert read(tmp_path, content) == {"1.jpg": "a", "3.jpg": "b"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'path': 1}", r"a\.jsonl, line 2 is .*, which is not a JSON object"),
        ("[1]", r"line 2 is .*, which is not a JSON object \(expected an object"),
        ('{"path": "\\ud800"}', r"line 2 is .*, which is not a JSON object .*surrogates not allowed"),
        ("[" * 100_000, r"line 2 is .*, which is not a JSON object"),
        ("9" * 5000, r"line 2 is .*, which is not a JSON object"),
    ],
)
def test_a_line_that_is_not_an_object_is_rejected_with_its_number(line: str, message: str, tmp_path: Path) -> None:
    lay_out(tmp_path, {"a.jsonl": '{"path": "1.jpg", "label": "cat"}\n' + line})
    with pytest.raises(UserError, match=message):
        tables.classification(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        {"README.txt": "Photos by Ann, 2020\nSee 1.jpg, the best\nMore, later\nAnd, more\nAnd, more\n"},
        {"train.txt": "1.jpg\n2.jpg\n"},
        {"a.csv": "path\n1.jpg\n2.jpg\n"},
        {"a.csv": "name,colour\ncat,red\n"},
        {"a.jsonl": '{"source-ref": "s3://b/1.jpg", "label": 0, "label-metadata": {"class-name": "cat"}}\n'},
        {"a.csv": ""},
        {"a.csv": b"\xff\xfe"},
        {"a/b/c.csv": "path,label\n1.jpg,cat\n"},
        {".a.csv": "path,label\n1.jpg,cat\n"},
    ],
)
def test_other_files_are_not_taken_for_tables_of_photos(files: dict[str, str | bytes], tmp_path: Path) -> None:
    assert tables.recognise(lay_out(tmp_path, files)) is None
    with pytest.raises(UserError, match="has no CSV, TSV or JSON Lines file with columns for photo paths and labels"):
        tables.classification(tmp_path)


def test_a_long_table_is_recognised_by_its_first_lines(tmp_path: Path) -> None:
    content = "path,label\n" + "".join(f"{number % 4 + 1}.jpg,{number % 2}\n" for number in range(20_000))
    assert tables.recognise(lay_out(tmp_path, {"a.csv": content})) == "a.csv names photos in its column path"


CELLS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NAMES = st.lists(st.text("abü |;,'\"\t[]0", max_size=8).filter(str.strip), min_size=1, max_size=4)


@given(
    st.one_of(
        st.text(),
        st.lists(st.lists(st.one_of(st.sampled_from(["1.jpg", "0", "1", "cat"]), CELLS))).map(
            lambda rows: "\n".join(",".join(row) for row in rows)
        ),
    ),
    st.sampled_from(["a.csv", "a.txt", "a.jsonl"]),
)
def test_any_text_is_read_or_rejected(tmp_path_factory: pytest.TempPathFactory, text: str, name: str) -> None:
    root = tmp_path_factory.getbasetemp() / "any-table"
    for old in root.glob("a.*"):
        old.unlink()
    lay_out(root, {name: text.encode(errors="surrogatepass")})
    try:
        data = tables.classification(root)
    except UserError:
        return
    assert {label for entry in data.entries for label in entry.target} <= set(data.class_names)
    assert all(data.class_names)
    assert data.multi_label or all(len(entry.target) == 1 for entry in data.entries)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"path": st.sampled_from(PHOTOS)},
            optional={
                "label": st.recursive(
                    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
                )
            },
        ),
        max_size=4,
    )
)
def test_any_json_is_read_or_rejected(tmp_path_factory: pytest.TempPathFactory, lines: list[object]) -> None:
    root = lay_out(tmp_path_factory.getbasetemp() / "any-json", {"a.jsonl": "\n".join(map(json.dumps, lines))})
    try:
        data = tables.classification(root)
    except UserError:
        return
    assert {label for entry in data.entries for label in entry.target} <= set(data.class_names)


@given(st.lists(NAMES, min_size=4, max_size=4), st.booleans())
def test_written_labels_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, labels_by_photo: list[list[str]], as_json: bool
) -> None:
    root = tmp_path_factory.getbasetemp() / f"written-{as_json}"
    labels_by_photo = [list(dict.fromkeys(" ".join(name.split()) for name in names)) for names in labels_by_photo]
    if as_json:
        rows = zip(PHOTOS, labels_by_photo, strict=True)
        content = "\n".join(json.dumps({"file": photo, "label": names}) for photo, names in rows)
    else:
        classes = list(dict.fromkeys(name for names in labels_by_photo for name in names))
        if len(classes) == 1:
            return
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["path", *(f"is it {name}" for name in classes)])
        writer.writerows(
            [photo, *(int(name in names) for name in classes)]
            for photo, names in zip(PHOTOS, labels_by_photo, strict=True)
        )
        content = text.getvalue()
    lay_out(root, {"a.jsonl" if as_json else "a.csv": content})
    expected = (
        labels_by_photo
        if as_json
        else [[" ".join(f"is it {name}".split()) for name in classes if name in names] for names in labels_by_photo]
    )
    assert [list(entry.target) for entry in tables.classification(root).entries] == expected


def write(pets: Path, root: Path) -> Path:
    """Write the pet data set as a folder of photos and a table for each part, with paths of another machine."""
    (root / "Fotos groß").mkdir(parents=True)
    rows: dict[str, list[str]] = {"train": ["image;Art;breed"], "validation": ["image;Art;breed"]}
    for pet in official.classification(pets).entries:
        os.link(pet.path, root / "Fotos groß" / f"ein {pet.path.name}")
        if pet.part:
            rows[pet.part].append(f"D:\\a\\Fotos groß\\ein {pet.path.name};1;{pet.target[0]}")
    for part, lines in rows.items():
        (root / f"{part}.csv").write_text("\r\n".join(lines), encoding="utf-16")
    return root


def classes(name: str, data: Path, out: Path, *options: str) -> dict[bytes, tuple[str, str]]:
    """Run `prepare`, and return the channel and the class name of each photo, by its bytes."""
    written = prepare(name, data, out, *options)
    names = sorted({path.parent.name for path in out.rglob("*.jpg")})
    if (names_file := out / "train_lst" / "classes.txt").exists():
        names = names_file.read_text().split()
    return {photo: (channel, names[written.truths[photo]]) for photo, channel in written.channels.items()}


@pytest.mark.parametrize("name", ["image-classification", "image-classification-tensorflow"])
def test_the_drawn_pets_keep_their_labels_in_tables(name: str, drawn: Path, tmp_path: Path) -> None:
    as_pets = classes(name, drawn, tmp_path / "one", "--classes", "breed")
    assert len(as_pets) == 48
    assert classes(name, write(drawn, tmp_path / "data"), tmp_path / "two") == as_pets


def test_the_real_pets_keep_their_labels_in_tables(pets: Path, tmp_path: Path) -> None:
    as_pets = classes("image-classification", pets, tmp_path / "one")
    assert len(as_pets) > 300
    assert classes("image-classification", write(pets, tmp_path / "data"), tmp_path / "two") == as_pets


def test_a_photo_that_exif_rotates_is_upright_in_its_channel_and_keeps_its_label(tmp_path: Path) -> None:
    labels = ("rotated", "upright")
    rows = [f"{label}/{number}.jpg,{label}" for label in labels for number in range(3)]
    data = lay_out(tmp_path / "data", {"a.csv": "\n".join(rows)}, ())
    for number, row in enumerate(rows):
        photo = picture(number)
        path = data / row.partition(",")[0]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(exif_rotated(photo, 6) if row.startswith("rotated") else encode(photo))
    assert sorted(label for _, label in classes("image-classification", data, tmp_path / "out").values()) == [
        *["rotated"] * 3,
        *["upright"] * 3,
    ]
    for path in (tmp_path / "out").rglob("*.jpg"):
        with Image.open(path) as image:
            assert (image.size, image.getexif()) == ((64, 48), {})


def picture(number: int) -> Image.Image:
    return Image.new("RGB", (64, 48), (40 * number, 20, 20))
