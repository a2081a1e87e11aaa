"""Reading data for image-classification: .lst files, RecordIO and photos, and errors with a fix."""

import io
import re
from pathlib import Path
from typing import Any

import gluoncv  # noqa: F401 - it changes how Pillow reads truncated photos
import pytest
from PIL import Image, ImageFile

from serve import preprocess
from tests import jobs
from tests.mxnet.batches import log_lines
from train.data import channels
from train.errors import UserError
from train.image_classification import data, hyperparameters

LINE = "0\t0\tacross/0.jpg"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Image channels with 16 and 3 photos, without a configuration."""
    return jobs.image_channels(tmp_path, train=16, validation=3)


def load(base: Path, **changes: Any) -> data.Data:
    """Read the data like a job with these hyperparameters."""
    return data.load(channels.load(base / "input"), hyperparameters.check(jobs.texts(jobs.HYPERPARAMETERS | changes)))


def train_lst(base: Path) -> Path:
    """Return the path of the .lst file for training."""
    return base / "input" / "data" / "train_lst" / "train.lst"


def starting(text: str) -> str:
    """Return a pattern for messages that start with this text."""
    return f"^{re.escape(text)}"


# ---- .lst files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("0\tacross/0.jpg", "line 1 has 2 tab-separated fields", id="two fields"),
        pytest.param("0 0 across/0.jpg", "line 1 has 1 tab-separated field: ", id="spaces for tabs"),
        pytest.param(f"{LINE}\n{LINE}", "line 2 repeats the index '0' of line 1", id="repeated index"),
        pytest.param("0\tcat\tacross/0.jpg", "line 1 has a label that is not a number: 'cat'", id="text label"),
        pytest.param("0\t0.5\tacross/0.jpg", "line 1 has the label 0.5", id="fraction"),
        pytest.param("0\t-1\tacross/0.jpg", "line 1 has the label -1", id="negative"),
        pytest.param("0\tnan\tacross/0.jpg", "line 1 has the label nan", id="nan"),
        pytest.param(
            "0\t3\tacross/0.jpg", "line 1 has the label 3: labels are whole numbers from 0 to 2", id="too high"
        ),
        pytest.param("0\t0\t1\tacross/0.jpg", "line 1 has 2 labels", id="several labels"),
    ],
)
def test_an_invalid_line_of_an_lst_file_is_rejected_with_line_and_value(text: str, message: str, base: Path) -> None:
    train_lst(base).write_text(text)
    with pytest.raises(UserError, match=starting(f"train_lst/train.lst, {message}")):
        load(base)


def test_an_empty_lst_file_is_rejected_with_the_format_of_a_line(base: Path) -> None:
    train_lst(base).write_text("\n")
    with pytest.raises(
        UserError, match=starting("train_lst/train.lst is empty: each line is index<TAB>label<TAB>path below train/")
    ):
        load(base)


def test_fewer_photos_than_the_batch_size_are_rejected(base: Path) -> None:
    train_lst(base).write_text(LINE)
    with pytest.raises(
        UserError, match=starting("The number of input images must be bigger or equal to the mini_batch_size")
    ):
        load(base)


def test_an_lst_file_with_only_wrong_paths_is_rejected_with_the_channels_contents(base: Path) -> None:
    train_lst(base).write_text("0\t0\tgone/a b.jpg\n1\t0\t0.jpg")
    with pytest.raises(UserError) as refused:
        load(base)
    assert str(refused.value) == (
        f"train_lst/train.lst lists no image that exists below {base}/input/data/train, which holds across/, down/, "
        "squares/: paths must be relative to that folder; the first of 2 is gone/a b.jpg"
    )


def test_blank_lines_crlf_float_labels_a_byte_order_mark_and_spaces_in_paths_are_accepted(base: Path) -> None:
    across = base / "input" / "data" / "train" / "across"
    (across / "0.jpg").rename(across / "a photo.jpg")
    train_lst(base).write_bytes("\ufeff0\t0.000000\tacross/a photo.jpg\r\n\r\n7\t1.0\tdown/1.jpg\r\n".encode())
    train = load(base, mini_batch_size=1).train
    assert [(sample.name, sample.label) for sample in train] == [("across/a photo.jpg", 0), ("down/1.jpg", 1)]


# ---- the format of the channels ---------------------------------------------------------------------------------


def test_resize_is_required_for_photos_with_lst_files(base: Path) -> None:
    with pytest.raises(UserError, match=starting("hyperparameter resize is required for images with .lst files")):
        load(base, resize=None)


def test_a_classes_txt_with_the_wrong_number_of_classes_is_rejected(base: Path) -> None:
    train_lst(base).with_name("classes.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=starting("train_lst/classes.txt names 2 classes but num_classes=3")):
        load(base)


def test_a_recordio_channel_without_a_record_file_is_rejected_with_its_contents(base: Path) -> None:
    jobs.configure(base, {}, content_type="application/x-recordio")
    with pytest.raises(UserError, match=starting("channel 'train' holds no .rec file, only across/, ")):
        load(base)


def test_a_jpeg_instead_of_a_record_file_is_recognised_by_its_first_bytes(base: Path) -> None:
    jobs.configure(base, {}, content_type="application/x-recordio")
    train = base / "input" / "data" / "train"
    (train / "train.rec").write_bytes((train / "across" / "0.jpg").read_bytes())
    with pytest.raises(UserError, match="is not a RecordIO file: it has a JPEG image at byte 0"):
        load(base)


def test_a_photo_smaller_than_the_crop_is_rejected_without_resize(tmp_path: Path, base: Path) -> None:
    records = jobs.record_channels(tmp_path / "records", base)
    jobs.configure(records, {}, content_type="application/x-recordio")
    with pytest.raises(
        UserError, match=starting("train.rec, record 0 is 48 x 48 pixels, smaller than image_shape=(3, 64, 64)")
    ):
        load(records, resize=None, image_shape="3,64,64")


# ---- photos -----------------------------------------------------------------------------------------------------


def test_a_truncated_photo_is_unreadable_even_if_gluoncv_makes_pillow_pad_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # what `import gluoncv` does
    jpeg = io.BytesIO()
    Image.effect_noise((60, 50), 80).convert("RGB").save(jpeg, "JPEG")
    with pytest.raises(preprocess.UnreadableImage, match=r"^is truncated \("):
        preprocess.decode(jpeg.getvalue()[:-500])


def test_unreadable_photos_are_named_counted_and_skipped(tmp_path: Path) -> None:
    base = jobs.image_channels(tmp_path, train=40, validation=3)
    train = base / "input" / "data" / "train"
    (train / "across" / "0.jpg").write_bytes((train / "across" / "0.jpg").read_bytes()[:400])
    (train / "down" / "1.jpg").unlink()
    with log_lines() as lines:
        loaded = load(base, num_training_samples=38)
    assert len(loaded.train) == 38
    assert not {"across/0.jpg", "down/1.jpg"} & {sample.name for sample in loaded.train}
    assert any(line.startswith("across/0.jpg is left out because it is truncated") for line in lines)
    assert "down/1.jpg is left out because it does not exist" in lines
    assert "2 of 40 train images cannot be read (left out)" in lines
