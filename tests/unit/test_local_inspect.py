"""`python3 -m local inspect`: the page, the sheet, the output, and what is rejected."""

import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from local import __main__ as program
from local.commands import prepare
from local.datasets.layouts import detect
from local.datasets.photo_cache import PhotoCache
from local.inspection import census, charts, findings, report, settings
from local.sagemaker import sdk
from serve import preprocess
from tests.unit.tiny_channels import both_boxes, both_lst, both_masks, folders, mask, photo, records, take_census, write
from train.data import recordio
from train.data.channels import folder_channels

NAMES = ("image-classification", "image-classification-tensorflow", "object-detection", "semantic-segmentation")
EVIL = """<script>alert("1")</script> & 'x'"""
BOX = (8, 6, 20, 16)


def run(name: str, channels: Path, *options: object) -> int:
    """Run `python3 -m local inspect`."""
    return program.main(["inspect", name, "--channels", str(channels), *map(str, options)])


class Page(HTMLParser):
    """The tags of a page with their attributes, in order, and its text. Elements must be closed in order."""

    VOID = ("meta", "img", "wbr")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element with this tag."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def prepared(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The drawn data set as channels of every algorithm, in image format, with all files that `prepare` writes."""
    channels = {}
    for name in NAMES:
        channels[name] = tmp_path_factory.mktemp("channels") / name
        arguments = ["prepare", name, "--data", drawn, "--out", channels[name]]
        assert program.main([str(argument) for argument in arguments]) == 0
    return channels


# --- the page and the sheet -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_page_needs_no_other_files_and_shows_photos_of_every_class(name: str, prepared: dict[str, Path]) -> None:
    page = Page(prepared[name] / "dataset.html")
    assert not {"script", "link", "iframe", "object", "embed", "base", "a"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not {"href", "srcset", "onload", "onerror", "action", "xlink:href"} & attributes.keys()
    source = (prepared[name] / "dataset.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?:|//[a-z]", re.sub(r'src="data:image/jpeg;base64,[^"]*"', "", source))
    photos = page.all("img")
    assert all(str(photo["src"]).startswith("data:image/jpeg;base64,") for photo in photos)
    counted = take_census(name, prepared[name])
    assert len(photos) >= 10
    for label in counted.photos_with("train"):
        assert counted.class_names[label] in page.text
    assert f"num_training_samples={len(counted.part('train'))}" in page.text


@pytest.mark.parametrize("name", NAMES)
def test_the_sheet_is_a_png_with_the_photos(name: str, prepared: dict[str, Path]) -> None:
    with Image.open(prepared[name] / "dataset.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 1000
        assert sheet.height > 500
        assert len(sheet.convert("RGB").getcolors(1 << 24) or []) > 1000, "photos have many colours"


@pytest.mark.parametrize("name", NAMES)
def test_inspect_writes_the_same_bytes_as_prepare(name: str, prepared: dict[str, Path], tmp_path: Path) -> None:
    assert run(name, prepared[name], "--out", tmp_path / "new" / "folder") == 0
    for file in ("dataset.html", "dataset.png"):
        assert (tmp_path / "new" / "folder" / file).read_bytes() == (prepared[name] / file).read_bytes()


@pytest.mark.parametrize("name", ["image-classification", "object-detection"])
def test_records_give_the_same_counts_and_findings_as_the_image_format(
    name: str, drawn: Path, prepared: dict[str, Path], tmp_path: Path
) -> None:
    arguments = ["prepare", name, "--data", drawn, "--out", tmp_path / "out", "--format", "recordio"]
    assert program.main([str(argument) for argument in arguments]) == 0
    images, packed = (take_census(name, root, 500) for root in (prepared[name], tmp_path / "out"))
    assert packed.listing.form == "RecordIO"
    assert packed.class_names == images.class_names
    assert packed.hyperparameters == images.hyperparameters
    for channel in ("train", "validation"):
        assert packed.amounts(channel) == images.amounts(channel)
        assert {inspected.info.digest for inspected in packed.part(channel)} == {
            inspected.info.digest for inspected in images.part(channel)
        }
    sentences = [[finding.message for finding in findings.find(inspected)] for inspected in (images, packed)]
    assert sentences[0] == sentences[1]
    assert sentences[0] != []


def test_names_of_classes_and_files_are_escaped_on_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = EVIL.replace("/", "_")
    root = folders(tmp_path, "training", {evil: 3, "b\x1b[31m": 3, "ц": 3}, 0)
    write(root / "training" / evil / f"{evil}.jpg", b"no photo")
    folders(root, "validation", {evil: 1}, 900)
    assert run("image-classification-tensorflow", root) == 0
    page = Page(root / "dataset.html")
    assert page.all("script") == []
    assert evil in page.text
    assert f"training/{evil}/{evil}.jpg is" in page.text
    assert "ц" in page.text
    assert "\x1b" not in capsys.readouterr().out


def test_names_of_classes_are_escaped_on_the_page_of_object_detection(tmp_path: Path) -> None:
    both_boxes(tmp_path, [[(0, *BOX)], [(1, *BOX)]], [[(0, *BOX)], [(1, *BOX)]])
    write(tmp_path / "train_annotation" / "classes.txt", f"{EVIL}\nb\n")
    assert run("object-detection", tmp_path) == 0
    page = Page(tmp_path / "dataset.html")
    assert page.all("script") == []
    assert f"0 {EVIL}" in page.text


def test_a_file_name_that_is_not_utf_8_is_on_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders(tmp_path, "training", {"a": 2, "b": 2}, 0)
    path = os.fsencode(tmp_path / "training" / "a") + b"/caf\xe9.jpg"
    with open(path, "wb") as file:
        file.write(b"no photo")
    assert run("image-classification-tensorflow", tmp_path) == 0
    assert "caf\\udce9.jpg" in Page(tmp_path / "dataset.html").text
    capsys.readouterr().out.encode()


def test_charts_escape_their_labels() -> None:
    drawn = charts.columns([1, 2], [EVIL, "b"], ("<x>", "<y>")) + charts.bubbles(
        [(1, 1, 1, EVIL)], ("<x>", "<y>"), (1, 1), (1, 1, EVIL)
    )
    assert "<script" not in drawn
    assert "<x>" not in drawn


@pytest.mark.parametrize(
    ("values", "counts", "labels"),
    [
        ([0, 1, 1, 3], [1, 2, 0, 1], ["0", "1", "2", "3"]),
        ([], [0], ["0"]),
        ([0, 12, 23], [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], [f"{low}\N{EN DASH}{low + 1}" for low in range(0, 24, 2)]),
    ],
)
def test_bins_have_the_same_width_and_hold_every_value(values: list[int], counts: list[int], labels: list[str]) -> None:
    assert charts.bins(values) == (counts, labels)


# --- output -----------------------------------------------------------------------------------------------------------


def test_problems_that_end_the_job_are_printed_first_and_come_before_the_photos_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both_lst(tmp_path, [1, 2] * 20 + ["x"], [1, 2])
    assert run("image-classification", tmp_path, "--image-shape", "3,16,16") == 0
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("Error: train_lst/train.lst, line 41 has a label that is not a number: 'x'; ")
    assert second.startswith("Warning: Labels start at 1: ")
    assert last == f"Report: {tmp_path / 'dataset.html'}"
    text = Page(tmp_path / "dataset.html").text
    assert text.index("line 41 has") < text.index("Labels start at 1") < text.index("21 of 40 training photos")


def test_clean_channels_are_reported_as_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both_masks(tmp_path, [mask(0, 1)] * 16, [mask(0, 1)])
    assert run("semantic-segmentation", tmp_path, "--image-shape", 32) == 0
    assert capsys.readouterr().out.splitlines()[0] == "No problems found in the data."
    assert "No problems found in the data." in Page(tmp_path / "dataset.html").text


def test_messages_that_training_also_logs_are_printed_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    both_boxes(tmp_path, [[(0, *BOX)]], [[(0, *BOX)]])
    write(tmp_path / "train" / "alone.jpg", photo(5))
    assert run("object-detection", tmp_path) == 0
    assert capsys.readouterr().out.count("alone.jpg") == 1
    assert caplog.records == []


def test_class_folders_without_validation_are_split_as_in_the_job(tmp_path: Path) -> None:
    folders(tmp_path, "training", {"a": 10, "b": 10}, 0)
    assert run("image-classification-tensorflow", tmp_path) == 0
    assert "the job splits off 20 % of each class" in Page(tmp_path / "dataset.html").text
    assert [len(take_census(NAMES[1], tmp_path).part(channel)) for channel in ("train", "validation")] == [16, 4]


def test_tensorflow_also_accepts_the_channels_of_image_classification(tmp_path: Path) -> None:
    both_lst(tmp_path, [0, 1, 1], [0, 1])
    counted = take_census("image-classification-tensorflow", tmp_path)
    assert counted.hyperparameters == {"num_classes": 2, "num_training_samples": 3}


@pytest.mark.parametrize(
    ("text", "shape"), [("3,224,112", (224, 112)), ("1, 28, 28", (28, 28)), ("300", (300, 300)), ("20,30", (20, 30))]
)
def test_an_image_shape_is_read_as_height_and_width(text: str, shape: tuple[int, int]) -> None:
    assert settings.image_shape(text) == shape


@pytest.mark.parametrize(
    ("name", "shown"),
    list(
        zip(NAMES, ["image_shape=3,224,224", "image_shape=3,128,128", "image_shape=300", "crop_size=240"], strict=True)
    ),
)
def test_the_default_image_shape_depends_on_the_algorithm(name: str, shown: str) -> None:
    assert str(settings.defaults(name)) == shown


# --- invalid arguments ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "folders", "reason"),
    [
        ("image-classification", ["train", "train_lst"], "channels 'validation', 'validation_lst' are missing"),
        ("image-classification-tensorflow", ["pictures"], "channel 'training' is missing (given: pictures)"),
        ("object-detection", ["train", "training_annotation", "validation"], "'train_annotation', "),
        ("semantic-segmentation", [], "are missing (given: none)"),
    ],
)
def test_missing_channels_are_rejected(
    name: str, folders: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir()
    assert run(name, tmp_path) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "dataset.html").exists()


def test_a_missing_folder_and_an_output_folder_that_is_a_file_are_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("image-classification", tmp_path / "none") == 2
    assert f"{tmp_path / 'none'} is not a folder: " in capsys.readouterr().err
    both_lst(tmp_path, [0, 1], [0, 1])
    assert run("image-classification", tmp_path, "--out", write(tmp_path / "file", "x")) == 2
    assert "name another folder with --out" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "a", "1,2,3,4", "0", "-3", "3,224,5000", "²"])
def test_an_invalid_image_shape_is_rejected(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("image-classification", tmp_path, "--image-shape", text)
    assert "write it as 3,224,224 or 300" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_empty_channels_give_a_report(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suffix = {"image-classification": "lst"}.get(name, "annotation")
    parts = ("train", "validation")
    for folder in parts if name == NAMES[1] else [*parts, *(f"{part}_{suffix}" for part in parts)]:
        (tmp_path / folder).mkdir()
    assert run(name, tmp_path) == 0
    assert capsys.readouterr().out.startswith("Error: ")
    assert Page(tmp_path / "dataset.html").all("img") == []
    with Image.open(tmp_path / "dataset.png") as sheet:
        assert sheet.width > 100


# --- files next to the channels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_files_next_to_the_channels_are_not_taken_for_channels(name: str, prepared: dict[str, Path]) -> None:
    folder = prepared[name]
    assert {"dataset.html", "dataset.png"} < {path.name for path in folder.iterdir()}
    assert (
        set(sdk.channels(folder))
        == set(folder_channels(folder))
        == {path.name for path in folder.iterdir() if path.is_dir()}
    )


def test_prepare_decodes_each_photo_once(drawn: Path, tmp_path: Path) -> None:
    data = detect(drawn).read("classification")
    train, validation = prepare.split(data)
    cache = PhotoCache()
    prepare.write_channels(data, train, validation, tmp_path / "out", cache=cache)
    count = len(train) + len(validation)
    assert len(cache) == count
    cached = {path: cache.at(path.read_bytes()) for path in (tmp_path / "out").rglob("*.jpg")}
    counted = census.take(NAMES[0], tmp_path / "out", settings.defaults(NAMES[0]), cache)
    assert len(cache) == count, "a photo was decoded twice"
    assert all(inspected.info is cached[inspected.item.sample.path] for inspected in counted.photos)


def test_the_cache_describes_the_upright_pixels_for_every_encoding() -> None:
    def encoded(image: Image.Image, form: str, **options: object) -> bytes:
        file = io.BytesIO()
        image.save(file, form, **options)
        return file.getvalue()

    with Image.open(io.BytesIO(photo(1))) as opened:
        image = opened.convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = image.transpose(Image.Transpose.ROTATE_90)
    cache = PhotoCache()
    upright, rotated, grey = (
        cache.at(data)
        for data in (encoded(image, "PNG"), encoded(stored, "PNG", exif=exif), encoded(image.convert("L"), "PNG"))
    )
    assert upright.digest == rotated.digest != grey.digest
    assert rotated.frame.upright == upright.frame.upright == image.size
    assert (upright.grey, grey.grey) == (False, True)
    with pytest.raises(preprocess.UnreadableImage):
        cache.at(b"no image")


def test_the_page_of_a_thousand_classes_shows_the_most_and_the_least_frequent(tmp_path: Path) -> None:
    one_per_class = [recordio.pack_image(float(label), label, photo(0, (16, 16))) for label in range(1000)]
    records(tmp_path, "train", [*one_per_class, *[one_per_class[700]] * 5])
    records(tmp_path, "validation", one_per_class)
    done = report.inspect(NAMES[0], tmp_path, tmp_path, settings.defaults(NAMES[0]).with_shape((16, 16)))
    page = Page(done.page)
    assert len(page.all("tr")) == 61
    assert "940 classes between the most common and the rarest are not shown." in page.text
    assert ">700</td>" in done.page.read_text(encoding="utf-8")


def test_the_real_subset_has_no_findings(pets: Path, tmp_path: Path) -> None:
    arguments = ["prepare", "object-detection", "--data", pets, "--out", tmp_path / "out"]
    assert program.main([str(argument) for argument in arguments]) == 0
    counted = take_census("object-detection", tmp_path / "out", 300)
    assert findings.find(counted) == []
    assert (len(counted.part("train")), len(counted.part("validation")), len(counted.boxes())) == (236, 60, 297)
    assert len(findings.smaller(counted)) == 83
