"""Channels from a messy data set: which photos are copied, which are re-encoded, and which are skipped and listed."""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from local import __main__ as program
from local.commands import prepare
from local.datasets import channels
from local.datasets.layouts.pets import reader as official
from local.images import TRAINING
from train.data import recordio


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def with_orientation(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, "JPEG", exif=exif, quality=95)


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Two breeds with a photo of each kind of problem. The upper half of every photo is red, the lower half blue."""
    root = tmp_path / "pets"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    picture = Image.new("RGB", (64, 48), (200, 30, 30))
    picture.paste((30, 30, 200), (0, 24, 64, 48))
    clear = picture.convert("RGBA")
    clear.putalpha(Image.new("L", picture.size, 255))
    clear.paste((0, 0, 0, 0), (0, 0, 64, 8))
    clean = encode(picture, "JPEG")
    files = {
        "Bengal_1.jpg": clean,
        "Bengal_2.jpg": encode(picture, "GIF"),
        "Bengal_3.jpg": encode(clear, "PNG"),
        "Bengal_4.jpg": with_orientation(picture, 3),
        "Bengal_5.jpg": clean[: len(clean) // 2],
        "Bengal_6.jpg": encode(picture.convert("CMYK"), "JPEG", quality=95),
        "Bengal_7.jpg": encode(picture.convert("L"), "JPEG"),
        "Bengal_8.jpg": b"",
        "Bengal_9.jpg": with_orientation(picture, 1),
        "pug_1.jpg": clean,
        "pug_2.jpg": clean,
        "pug_3.jpg": clean,
        "Bengal_101.mat": b"MATLAB 5.0 MAT-file",
        "._pug_1.jpg": b"\x00\x05\x16\x07macOS",
        "pug_99.jpg": clean,
    }
    for name, data in files.items():
        (root / "images" / name).write_bytes(data)
    train = [*(f"Bengal_{number} 6 1 1" for number in range(1, 10)), "pug_1 9 2 1", "pug_2 9 2 1", "pug_4 9 2 1"]
    (root / "annotations" / "trainval.txt").write_text("\n".join(train))
    (root / "annotations" / "test.txt").write_text("pug_3 9 2 1\n")
    return root


def run(*arguments: object) -> int:
    return program.main(["prepare", *map(str, arguments)])


def test_clean_jpegs_are_copied_and_other_images_become_upright_rgb_jpegs(messy: Path, tmp_path: Path) -> None:
    out = tmp_path / "channels"
    assert run("image-classification", "--data", messy, "--out", out) == 0
    for number in (1, 7, 9):
        written = (out / "train" / "Bengal" / f"Bengal_{number}.jpg").read_bytes()
        assert written == (messy / "images" / f"Bengal_{number}.jpg").read_bytes()
    for number, upper in ((2, (200, 30, 30)), (3, (200, 30, 30)), (4, (30, 30, 200)), (6, (200, 30, 30))):
        with Image.open(out / "train" / "Bengal" / f"Bengal_{number}.jpg") as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 48))
            assert image.getexif().get(0x0112, 1) == 1
            assert np.abs(np.subtract(image.getpixel((32, 14)), upper)).max() < 40
    with Image.open(out / "train" / "Bengal" / "Bengal_3.jpg") as flattened:
        assert min(flattened.getpixel((32, 3))) > 220


def test_every_skipped_or_reencoded_file_is_listed_with_its_reason(
    messy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("image-classification", "--data", messy, "--out", tmp_path / "channels")
    _, *lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "files in images/ that are not photos, skipped: 2 (._pug_1.jpg, Bengal_101.mat)"
    assert lines[1] == "photos that are not in the split, not used: 1 (pug_99.jpg)"
    assert lines[2].startswith("listed photos that cannot be read, skipped: 3 (")
    assert all(
        reason in lines[2]
        for reason in ("Bengal_5.jpg is truncated", "Bengal_8.jpg is empty", "pug_4.jpg does not exist")
    )
    assert lines[3].startswith("photos re-encoded as JPEG, quality 95: 4 (")
    for reason in (
        "Bengal_2.jpg is a GIF",
        "Bengal_3.jpg is a PNG",
        "Bengal_4.jpg is rotated by EXIF",
        "Bengal_6.jpg is CMYK",
    ):
        assert reason in lines[3]
    assert lines[4] == "9 training photos, 1 validation photo, 2 classes"
    assert lines[-1] == "Set num_classes=2 num_training_samples=9"


def test_lists_have_index_label_and_path_and_match_the_files(messy: Path, tmp_path: Path) -> None:
    out = tmp_path / "channels"
    run("image-classification", "--data", messy, "--out", out)
    rows = [line.split("\t") for line in (out / "train_lst" / "train.lst").read_text().splitlines()]
    assert [int(index) for index, _, _ in rows] == list(range(9))
    assert {path.split("/")[0]: label for _, label, path in rows} == {"Bengal": "0", "pug": "1"}
    assert {path for _, _, path in rows} == {
        str(file.relative_to(out / "train")) for file in (out / "train").glob("*/*")
    }
    assert [label for _, label, _ in rows] != sorted(label for _, label, _ in rows), "not shuffled"
    for channel in ("train", "validation"):
        assert (out / f"{channel}_lst" / "classes.txt").read_text() == "Bengal\npug\n"
    assert prepare.photos(out, "validation") == [(out / "validation" / "pug" / "pug_3.jpg", 1)]


def test_the_recordio_format_holds_the_same_photos_and_labels_as_the_image_format(messy: Path, tmp_path: Path) -> None:
    images, records = tmp_path / "images", tmp_path / "records"
    run("image-classification", "--data", messy, "--out", images)
    run("image-classification", "--data", messy, "--out", records, "--format", "recordio")
    for channel in ("train", "validation"):
        assert {file.name for file in (records / channel).iterdir()} == {f"{channel}.rec", "classes.txt"}
        path = records / channel / f"{channel}.rec"
        unpacked = [recordio.unpack_image(recordio.read(path, *place)) for place in recordio.scan(path)]
        assert [record.index for record in unpacked] == list(range(len(unpacked)))
        assert [(int(record.labels[0]), record.image) for record in unpacked] == [
            (label, photo.read_bytes()) for photo, label in prepare.photos(images, channel)
        ]


def test_a_random_split_uses_photos_in_no_list(messy: Path, tmp_path: Path) -> None:
    out = tmp_path / "channels"
    run(
        "image-classification", "--data", messy, "--out", out, "--split", "random", "--validation", "0.4", "--seed", "1"
    )
    used = {photo.stem for channel in ("train", "validation") for photo, _ in prepare.photos(out, channel)}
    assert "pug_99" in used
    assert len(used) == 11


@pytest.mark.parametrize("split", [(), ("--split", "official")])
def test_a_validation_share_without_a_random_split_is_rejected(
    messy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], split: tuple[str, ...]
) -> None:
    out = tmp_path / "channels"
    assert run("image-classification", "--data", messy, "--out", out, "--validation", "0.5", *split) == 2
    assert capsys.readouterr().err == (
        "prepare: --validation 0.5 is for --split random, but this split is official: add --split random, or omit "
        "--validation\n"
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("share", "message"), [("half", "half is not a number"), ("1", "1 is not between 0 and 1"), ("nan", "nan is not")]
)
def test_an_invalid_validation_share_is_rejected(
    share: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("image-classification", "--data", tmp_path, "--out", tmp_path, "--validation", share)
    assert f"argument --validation: {message}" in capsys.readouterr().err


def test_classes_species_makes_the_species_the_classes(messy: Path, tmp_path: Path) -> None:
    out = tmp_path / "channels"
    run("image-classification", "--data", messy, "--out", out, "--classes", "species")
    assert (out / "train_lst" / "classes.txt").read_text() == "cat\ndog\n"
    assert (out / "train" / "dog" / "pug_1.jpg").exists()


def test_a_folder_that_is_not_empty_is_replaced_only_with_force(
    messy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "channels"
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    assert run("image-classification", "--data", messy, "--out", out) == 2
    assert "not empty: name another folder, or add --force" in capsys.readouterr().err
    assert (out / "mine.txt").read_text() == "kept"
    assert run("image-classification", "--data", messy, "--out", out, "--force") == 0
    assert not (out / "mine.txt").exists()


@pytest.mark.parametrize("out", ["", "images", "channels", ".."])
def test_channels_that_overlap_with_the_data_set_are_rejected_and_nothing_changes(
    messy: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in messy.rglob("*") if file.is_file()}
    assert run("image-classification", "--data", messy, "--out", messy / out, "--force") == 2
    assert (
        f"--out {messy / out} and --data {messy} overlap: use a folder outside the data set" in capsys.readouterr().err
    )
    assert {file: file.read_bytes() for file in messy.rglob("*") if file.is_file()} == before


def test_invalid_file_names_are_changed_to_names_that_training_reads(messy: Path, tmp_path: Path) -> None:
    from train.data import lst

    odd = ["tab\there", "two\u2028lines", "w\udcf6rter", "what?"]
    folders = tmp_path / "folders"
    for number, name in enumerate(odd):
        for folder in ("cat", "dog"):
            (folders / folder).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (60 * number, 0, 0)).save(folders / folder / f"{name}.jpg")
    out = tmp_path / "channels"
    assert run("image-classification", "--data", folders, "--out", out) == 0
    samples = lst.read(out / "train_lst" / "train.lst", "train.lst", out / "train", 2, lst.class_id)
    assert all(sample.path.is_file() for sample in samples)
    names = {photo.stem for channel in ("train", "validation") for photo, _ in prepare.photos(out, channel)}
    assert names == {"tab_here", "two_lines", "w_rter", "what_"}


def test_if_no_photo_remains_the_error_says_what_was_left_out(
    messy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 4):
        (messy / "images" / f"pug_{number}.jpg").write_bytes(b"not an image")
    assert run("image-classification", "--data", messy, "--out", tmp_path / "channels") == 2
    assert re.search(
        r"of pug for the train channel: .*; \d photos? skipped, the first: \S+\.jpg is", capsys.readouterr().err
    )


def test_a_full_disk_gives_a_one_line_error_and_writes_nothing(messy: Path, tmp_path: Path) -> None:
    out = tmp_path / "channels"
    arguments = ["prepare", "image-classification", "--data", str(messy), "--out", str(out)]
    # A limit on the file size stands in for a full disk: writing fails in the same place.
    code = (
        "import resource, sys; from local.__main__ import main; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)); sys.exit(main({arguments!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("prepare: a file cannot be written (")
    assert "free some space, or write to another disk" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_a_failure_leaves_nothing_behind(messy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(1, 4):
        (messy / "images" / f"pug_{number}.jpg").write_bytes(b"not an image")
    before = sorted(file.name for file in tmp_path.iterdir())
    assert run("image-classification", "--data", messy, "--out", tmp_path / "channels") == 2
    assert "no readable photo of pug for the train channel" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == before


def test_force_keeps_the_old_channels_if_the_new_ones_fail(messy: Path, tmp_path: Path) -> None:
    out = tmp_path / "channels"
    run("image-classification", "--data", messy, "--out", out)
    shutil.rmtree(messy / "images")
    (messy / "images").mkdir()
    assert run("image-classification", "--data", messy, "--out", out, "--force") == 2
    assert len(prepare.photos(out, "train")) == 9


def test_counts_of_one_are_in_the_singular() -> None:
    summary = channels.Summary(["pug"], counts={"train": 1, "validation": 2})
    assert prepare.report(summary) == ["1 training photo, 2 validation photos, 1 class"]


@pytest.mark.parametrize(
    ("name", "message"), [("image-clasification", f"unknown algorithm, use one of {', '.join(TRAINING)}")]
)
def test_unknown_algorithms_are_rejected_in_one_line(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name, "--data", tmp_path, "--out", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_photo_with_unreadable_exif_is_used_as_stored(messy: Path, tmp_path: Path) -> None:
    photo = messy / "images" / "Bengal_1.jpg"
    exif = b"Exif\0\0no TIFF header"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    photo.write_bytes(photo.read_bytes()[:2] + segment + photo.read_bytes()[2:])
    assert run("image-classification", "--data", messy, "--out", tmp_path / "channels") == 0
    assert (tmp_path / "channels" / "train" / "Bengal" / "Bengal_1.jpg").read_bytes() == photo.read_bytes()


def test_the_real_subset_is_prepared(pets: Path, tmp_path: Path) -> None:
    data = official.classification(pets)
    photos = data.entries
    summary = prepare.write_channels(data, photos[:-3], photos[-3:], tmp_path / "channels")
    assert summary.files[official.STRAYS] == ["Abyssinian_101.mat"]
    assert sorted(summary.files[channels.REENCODED]) == ["Abyssinian_34.jpg is a GIF", "Abyssinian_5.jpg is a PNG"]
    assert summary.files[channels.UNREADABLE] == []
    assert summary.counts == {"train": 507, "validation": 3}
