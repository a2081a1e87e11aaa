"""Channels: reading SageMaker's files, local mode's shorter ones, or folders without files, and what is rejected."""

import json
from pathlib import Path
from typing import Any

import pytest

from train.data import channels
from train.errors import UserError


def lay_out(base: Path, config: dict[str, Any] | None, folders: list[str]) -> Path:
    (base / "config").mkdir()
    if config is not None:
        (base / "config" / "inputdataconfig.json").write_text(json.dumps(config))
    for name in folders:
        (base / "data" / name).mkdir(parents=True)
    return base


FULL = {
    "ContentType": "Application/X-RecordIO; a=b",
    "TrainingInputMode": "FastFile",
    "S3DistributionType": "FullyReplicated",
    "RecordWrapperType": "None",
}


def test_the_content_type_ignores_parameters_and_case_and_fastfile_is_a_folder(tmp_path: Path) -> None:
    loaded = channels.load(lay_out(tmp_path, {"train": FULL}, ["train"]))
    assert loaded["train"] == channels.Channel("train", tmp_path / "data" / "train", channels.RECORDIO)


def test_the_few_attributes_of_local_mode_are_sufficient(tmp_path: Path) -> None:
    loaded = channels.load(lay_out(tmp_path, {"train": {"TrainingInputMode": "File"}}, ["train"]))
    assert loaded["train"].content_type == ""


def test_a_channel_without_attributes_is_a_folder(tmp_path: Path) -> None:
    loaded = channels.load(lay_out(tmp_path, {"train": None, "validation": {}}, ["train", "validation"]))
    assert sorted(loaded) == ["train", "validation"]


def test_without_a_config_file_every_folder_is_a_channel(tmp_path: Path) -> None:
    assert sorted(channels.load(lay_out(tmp_path, None, ["train", "validation"]))) == ["train", "validation"]


def test_without_any_data_there_are_no_channels(tmp_path: Path) -> None:
    assert channels.load(lay_out(tmp_path, None, [])) == {}


@pytest.mark.parametrize(
    ("config", "folders", "message"),
    [
        ({"train": {**FULL, "TrainingInputMode": "Pipe"}}, [], "channel 'train' has input mode Pipe"),
        ({"train": FULL}, [], "channel 'train' has no folder"),
        ({"train": 3}, ["train"], r"inputdataconfig\.json has 'train': 3: a channel must be an object"),
        ({"train": [1]}, ["train"], r"has 'train': \[1\]: a channel must be an object"),
        ([1], [], r"inputdataconfig\.json contains a JSON list"),
    ],
)
def test_an_invalid_channel_is_rejected_with_its_name(
    config: Any, folders: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        channels.load(lay_out(tmp_path, config, folders))


def load_channels(base: Path, content_types: dict[str, str]) -> dict[str, channels.Channel]:
    """Load channels with these names and content types. `.rec` instead of a content type adds a record file."""
    lay_out(base, {name: {"ContentType": kind} for name, kind in content_types.items()}, list(content_types))
    for name, kind in content_types.items():
        if kind == ".rec":
            (base / "data" / name / "a.rec").touch()
    return channels.load(base)


RECORDS = channels.RECORDIO


@pytest.mark.parametrize(
    ("content_types", "message"),
    [
        ({}, "channels 'train', 'train_lst', 'validation', 'validation_lst' are missing (given: none): because"),
        ({"train": "", "train_lst": ""}, "channels 'validation', 'validation_lst' are missing (given: train, train_"),
        ({"train": "", "validation": ""}, "channels 'train_lst', 'validation_lst' are missing (given: train, valid"),
        ({"train": "", "train_lst": "", "validation": ""}, "channel 'validation_lst' is missing (given: train, train_"),
        ({"train": RECORDS}, "channel 'validation' is missing (given: train): because"),
        ({"validation": ".rec"}, "channel 'train' is missing (given: validation): because"),
        ({"train": RECORDS, "validation": ""}, "channel 'validation_lst' is missing"),
        ({"train": RECORDS, "validation_lst": ""}, "channel 'validation' is missing"),
    ],
)
def test_all_missing_channels_of_the_format_in_use_are_reported_at_once(
    content_types: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        channels.require_all(load_channels(tmp_path, content_types), "lst", "because")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "content_types",
    [
        {"train": "", "train_lst": "", "validation": "", "validation_lst": ""},
        {"train": RECORDS, "validation": RECORDS},
        {"train": ".rec", "validation": "", "validation_lst": "", "pretrained": ""},
    ],
)
def test_complete_channels_of_either_format_are_sufficient(content_types: dict[str, str], tmp_path: Path) -> None:
    channels.require_all(load_channels(tmp_path, content_types), "lst", "because")


@pytest.mark.parametrize(
    ("content_types", "message"),
    [
        ({"training": RECORDS, "validation": RECORDS}, "given: training, validation; 'training': did you mean train?)"),
        ({"train": RECORDS, "val": RECORDS}, "given: train, val; 'val': did you mean validation?)"),
        ({"Train": RECORDS, "valid": RECORDS}, "'Train': did you mean train?; 'valid': did you mean validation?)"),
        ({"training": "", "training_lst": ""}, "'training': did you mean train?; 'training_lst': did you mean train_l"),
        ({"train": RECORDS, "pretrained": ""}, "(given: pretrained, train): because"),
        ({"train": RECORDS, "test": ""}, "(given: test, train): because"),
    ],
)
def test_a_misspelled_channel_is_reported_with_the_right_name(
    content_types: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        channels.require_all(load_channels(tmp_path, content_types), "lst", "because")
    assert message in str(caught.value)


def test_the_model_channel_is_rejected_as_not_supported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="channel 'model'"):
        channels.refuse_unsupported(channels.load(lay_out(tmp_path, None, ["model"])))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"^channel 'train' holds no \.rec file: it is empty$"),
        (["a.rec", "b/c.rec"], r"^channel 'train' holds 2 \.rec files \(a\.rec, b/c\.rec\): it must hold exactly one$"),
        (["a.jpg"], r"^channel 'train' holds no \.rec file, only a\.jpg$"),
        (["b/c.jpg", "b/d.jpg"], r"^channel 'train' holds no \.rec file, only b/$"),
    ],
)
def test_a_channel_without_its_single_file_is_rejected_with_its_contents(
    names: list[str], message: str, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=message):
        channels.Channel("train", tmp_path, "").only_file(".rec")


def test_the_single_file_of_a_channel_is_found_in_a_subfolder_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.rec").touch()
    (tmp_path / "._a.rec").touch()
    assert channels.Channel("train", tmp_path, "").only_file(".rec") == tmp_path / "sub" / "a.rec"


def touch(base: Path, *names: str) -> channels.Channel:
    """Return a channel `train` with these empty files."""
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).touch()
    return channels.Channel("train", base, "")


def test_files_in_hidden_folders_are_ignored_even_if_the_channel_is_in_a_hidden_folder(tmp_path: Path) -> None:
    base = tmp_path / ".hidden" / "train"
    channel = touch(base, "a.rec", ".ipynb_checkpoints/a-checkpoint.rec", "sub/.cache/deep/b.rec", "..c/d.jpg")
    assert channel.only_file(".rec") == base / "a.rec"
    assert channel.files() == [base / "a.rec"]


def test_a_record_file_in_a_hidden_folder_does_not_make_a_channel_recordio(tmp_path: Path) -> None:
    assert not channels.is_recordio({"train": touch(tmp_path, ".cache/a.rec")}, "train", "train_lst")


def test_a_listing_shows_what_the_job_would_read_and_mentions_hidden_files(tmp_path: Path) -> None:
    touch(tmp_path, ".DS_Store", "sub/a.jpg", ".ipynb_checkpoints/b.jpg")
    assert channels.listing(tmp_path) == "sub/"
    assert channels.listing(tmp_path / ".ipynb_checkpoints") == "b.jpg"
    with pytest.raises(UserError, match=r"^channel 'train' holds no \.rec file, only hidden files$"):
        touch(tmp_path / "b", ".a.rec").only_file(".rec")


def test_without_a_config_file_a_hidden_folder_is_not_a_channel(tmp_path: Path) -> None:
    assert sorted(channels.load(lay_out(tmp_path, None, ["train", ".ipynb_checkpoints"]))) == ["train"]
