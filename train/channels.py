"""Channels: what `inputdataconfig.json` says of the data, and where it lies."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from train import configuration
from train.errors import UserError
from train.log import LOG

RECORDIO = "application/x-recordio"
CLASSES = "classes.txt"


@dataclass(frozen=True)
class Channel:
    """One input channel: its name, the folder it lies in, and its content type ("" when the user gave none)."""

    name: str
    path: Path
    content_type: str

    def files(self, suffixes: tuple[str, ...] = ("",)) -> list[Path]:
        """Return the files at any depth whose names end in one of `suffixes`, in order, without hidden ones."""
        return sorted(
            path
            for path in self.path.rglob("*")
            if path.name.lower().endswith(suffixes) and not path.name.startswith(".") and path.is_file()
        )

    def one(self, suffix: str) -> Path:
        """Return the channel's one file that ends in `suffix`, at any depth. Raises UserError for none or several."""
        found = self.files((suffix,))
        if len(found) == 1:
            return found[0]
        lying = ", ".join(path.name for path in found[:5]) or listing(self.path)
        raise UserError(
            f"channel {self.name!r} must hold exactly one {suffix} file and holds {len(found)}: it holds {lying}"
        )


def load(input_dir: Path) -> dict[str, Channel]:
    """Return the job's channels by name.

    `input_dir` is `/opt/ml/input`. Without an inputdataconfig.json every folder under `data` is a channel, so that
    a plain `docker run` needs no such file. File and FastFile are alike: a folder that is only read. Raises
    UserError for Pipe mode, for a channel whose folder is missing, and for a file that is no JSON object.
    """
    config_file, data = input_dir / "config" / "inputdataconfig.json", input_dir / "data"
    if not config_file.exists():
        folders = sorted(path for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
        return {path.name: Channel(path.name, path, "") for path in folders}
    found = {}
    for name, values in configuration.read(config_file).items():
        if not isinstance(values, dict | None):
            raise UserError(
                f"{config_file} has {name!r}: {json.dumps(values)[:60]}: a channel is an object, such as "
                '{"ContentType": "image/jpeg"}, or {}'
            )
        found[name] = _channel(name, data / name, values or {})
    return found


def _channel(name: str, path: Path, values: dict[str, str]) -> Channel:
    content_type = (values.get("ContentType") or "").split(";")[0].strip().lower()
    mode = values.get("TrainingInputMode") or "File"
    wrapper = values.get("RecordWrapperType")
    told = f"ContentType={values.get('ContentType')}, TrainingInputMode={mode}, RecordWrapperType={wrapper}"
    if mode == "Pipe":
        raise UserError(
            f"channel {name!r} has input mode Pipe, which this version does not read yet (augmented "
            f"manifests need it too): use File or FastFile ({told})"
        )
    if not path.is_dir():
        raise UserError(
            f"channel {name!r} has no folder {path}: SageMaker makes it from the channel's data; in a "
            f"plain docker run mount the data there ({told})"
        )
    LOG.info("Channel %s: %s", name, told)
    return Channel(name, path, content_type)


def require(channels: dict[str, Channel], names: Iterable[str], why: str) -> None:
    """Raise UserError naming the channels of `names` that are missing, and `why` they are needed."""
    missing = [name for name in names if name not in channels]
    if missing:
        have = ", ".join(sorted(channels)) or "none"
        raise UserError(
            f"channel {missing[0]!r} is missing (missing in all: {', '.join(missing)}; given: {have}): {why}"
        )


def refuse_unbuilt(channels: dict[str, Channel]) -> None:
    """Raise UserError for a channel that the built-in knows and this version does not read yet."""
    if "model" in channels:
        raise UserError(
            "channel 'model' (incremental training) is not read by this version yet: remove it, or "
            "pass weights through the channel 'pretrained'"
        )


def by_record(channels: dict[str, Channel], name: str, labels: str) -> bool:
    """Return whether channel `name` is RecordIO: it says so, or it holds a .rec and channel `labels` is not given."""
    channel = channels[name]
    return channel.content_type == RECORDIO or (labels not in channels and bool(channel.files((".rec",))))


def class_names(channels: dict[str, Channel], names: Iterable[str], classes: int) -> tuple[str, ...] | None:
    """Return the lines of classes.txt in the first of the channels `names` that has one, or None.

    Raises UserError when they are not `classes` in number, or no text.
    """
    for channel in names:
        path = channels[channel].path / CLASSES if channel in channels else None
        if path is None or not path.exists():
            continue
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
        except UnicodeDecodeError as error:
            raise UserError(f"{channel}/{CLASSES} is not UTF-8 text ({error}): save it as UTF-8") from None
        found = tuple(line for line in lines if line)
        if len(found) != classes:
            raise UserError(
                f"{channel}/{CLASSES} names {len(found)} classes and num_classes={classes}: it "
                "needs one line per class, in the order of the labels"
            )
        return found
    return None


def listing(folder: Path) -> str:
    """Return the names of the first five entries of a folder, or "nothing"."""
    names = [path.name for _, path in zip(range(5), sorted(folder.iterdir()), strict=False)]
    return ", ".join(names) or "nothing"
