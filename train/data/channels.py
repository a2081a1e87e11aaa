"""Input channels: what `inputdataconfig.json` says about them and where their files are."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from serve.words import plural
from train.errors import UserError
from train.job import configuration
from train.job.peers import ALONE, Peers
from train.log import LOG

RECORDIO = "application/x-recordio"
CLASSES = "classes.txt"
NOTHING = "nothing"
_BOTH = ("train", "validation")
_OTHERS = ("pretrained", "model", "test")  # valid names, so never reported as misspellings


@dataclass(frozen=True)
class Channel:
    """One input channel: its name, its folder and its content type ("" if the user gave none)."""

    name: str
    path: Path
    content_type: str
    kind: str = "channel"
    """What messages call it; "folder" if there is no job yet."""
    sharded: bool = False
    """Whether each host gets different files (distribution ShardedByS3Key)."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"

    def files(self, suffixes: tuple[str, ...] = ("",)) -> list[Path]:
        """Return the files, at any depth, whose names end in one of `suffixes`, sorted.

        Hidden files and folders are skipped: notebooks and desktops create them, not the user.
        """
        return sorted(
            path
            for path in self.path.rglob("*")
            if path.name.lower().endswith(suffixes) and not _hidden(path, self.path) and path.is_file()
        )

    def only_file(self, suffix: str) -> Path:
        """Return the only file that ends in `suffix`, at any depth. Raises UserError if there is none or several."""
        files = self.files((suffix,))
        if len(files) == 1:
            return files[0]
        if not files:
            content = listing(self.path)
            detail = ": it is empty" if content == NOTHING else f", only {content}"
            raise UserError(f"channel {self.name!r} holds no {suffix} file{detail}")
        names = [path.relative_to(self.path).as_posix() for path in files]
        raise UserError(
            f"channel {self.name!r} holds {len(files)} {suffix} files ({_first_names(names)}): it must hold exactly one"
        )

    def name_of(self, path: Path) -> str:
        """Return the name of a file for messages: the channel's name, then the path within the channel."""
        return f"{self.name}/{path.relative_to(self.path).as_posix()}"


def load(input_dir: Path) -> dict[str, Channel]:
    """Return the job's channels by name.

    `input_dir` is `/opt/ml/input`. Without an inputdataconfig.json every folder in `data` is a channel, so a plain
    `docker run` does not need the file. Channels in File and FastFile mode look the same: a folder to read from. Raises
    UserError for Pipe mode, a missing channel folder, or a file that is not a JSON object.
    """
    config_file, data = input_dir / "config" / "inputdataconfig.json", input_dir / "data"
    if not config_file.exists():
        return folder_channels(data)
    channels = {}
    for name, values in configuration.read(config_file).items():
        if not isinstance(values, dict | None):
            raise UserError(
                f"{config_file} has {name!r}: {json.dumps(values)[:60]}: a channel must be an object, such as "
                '{"ContentType": "image/jpeg"} or {}'
            )
        channels[name] = _channel(name, data / name, values or {})
    return channels


def folder_channels(folder: Path) -> dict[str, Channel]:
    """Return each folder in `folder` as a channel, by name. Hidden folders are skipped; `folder` may not exist."""
    if not folder.is_dir():
        return {}
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not _hidden(path, folder))
    return {path.name: Channel(path.name, path, "") for path in folders}


def _channel(name: str, path: Path, values: dict[str, str]) -> Channel:
    content_type = (values.get("ContentType") or "").split(";")[0].strip().lower()
    mode = values.get("TrainingInputMode") or "File"
    wrapper = values.get("RecordWrapperType")
    settings = f"ContentType={values.get('ContentType')}, TrainingInputMode={mode}, RecordWrapperType={wrapper}"
    if mode == "Pipe":
        raise UserError(
            f"channel {name!r} has input mode Pipe, which is not supported yet (augmented manifests need "
            f"it too): use File or FastFile ({settings})"
        )
    if not path.is_dir():
        raise UserError(
            f"channel {name!r} has no folder {path}: SageMaker creates it from the channel's data; with a plain "
            f"docker run, mount the data there ({settings})"
        )
    LOG.info("Channel %s: %s", name, settings)
    return Channel(name, path, content_type, sharded=values.get("S3DistributionType") == "ShardedByS3Key")


def require_all(channels: dict[str, Channel], labels: str, why: str) -> None:
    """Raise UserError with the missing training channels and the reason `why` the algorithm needs them.

    An algorithm needs `train` and `validation` and, for each of them that is not RecordIO, a channel with its labels,
    such as `train_lst`. If one of the two is missing, it is assumed to have the format of the other.
    """
    records = {name: is_recordio(channels, name, f"{name}_{labels}") for name in _BOTH if name in channels}
    required = []
    for name in _BOTH:
        required += [name] if records.get(name, any(records.values())) else [name, f"{name}_{labels}"]
    missing = [name for name in required if name not in channels]
    if missing:
        known = {*_BOTH, *(f"{name}_{labels}" for name in _BOTH), *_OTHERS}
        unknown = ((name, _near(name, missing)) for name in channels if name not in known)
        hints = [f"{name!r}: did you mean {near}?" for name, near in unknown if near]
        names = ", ".join(map(repr, missing))
        subject = f"channel {names} is" if len(missing) == 1 else f"channels {names} are"
        given = "; ".join([", ".join(sorted(channels)) or "none", *hints])
        raise UserError(f"{subject} missing (given: {given}): {why}")


def _near(name: str, missing: Sequence[str]) -> str | None:
    """Return the missing channel that `name` probably stands for: `train` for `training`, `validation` for `val`."""
    lower = name.lower()
    prefixed = [channel for channel in missing if len(lower) >= 3 and channel.startswith(lower)]
    close = difflib.get_close_matches(lower, missing, n=1, cutoff=0.6)
    return next(iter(close + prefixed), None)


def refuse_unsupported(channels: dict[str, Channel]) -> None:
    """Raise UserError for a channel that the built-in supports but this version does not."""
    if "model" in channels:
        raise UserError(
            "channel 'model' (incremental training) is not supported yet: remove it, or pass weights through the "
            "channel 'pretrained'"
        )


def is_recordio(channels: dict[str, Channel], name: str, labels: str) -> bool:
    """Return whether channel `name` is RecordIO.

    It is if its content type says so, or if it has a .rec file and there is no channel `labels`.
    """
    channel = channels[name]
    return channel.content_type == RECORDIO or (labels not in channels and bool(channel.files((".rec",))))


def class_names(
    channels: dict[str, Channel], names: Iterable[str], classes: int | None, peers: Peers = ALONE
) -> tuple[str, ...] | None:
    """Return the lines of classes.txt in the first of the channels `names` that has one, or None.

    All hosts must call it. The first host that has the file decides, because a sharded channel gives it to only one.
    Raises UserError if the file is not UTF-8 text or does not have `classes` lines (any number if that is None).
    """
    by_host = peers.gather_json(_class_names(channels, names, classes))
    return next((tuple(lines) for lines in by_host if lines is not None), None)


def _class_names(channels: dict[str, Channel], names: Iterable[str], classes: int | None) -> tuple[str, ...] | None:
    for channel in names:
        path = channels[channel].path / CLASSES if channel in channels else None
        if path is None or not path.exists():
            continue
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
        except UnicodeDecodeError as error:
            raise UserError(f"{channel}/{CLASSES} is not UTF-8 text ({error}): save it as UTF-8") from None
        named = tuple(line for line in lines if line)
        if classes is not None and len(named) != classes:
            raise UserError(
                f"{channel}/{CLASSES} names {plural(len(named), 'class')} but num_classes={classes}: it needs one line "
                "per class, in the order of the labels"
            )
        return named
    return None


def listing(folder: Path) -> str:
    """Return the first five entries of a folder for a message, without hidden ones; folders end in a slash."""
    entries = sorted(folder.iterdir())
    visible = [path.name + ("/" if path.is_dir() else "") for path in entries if not _hidden(path, folder)]
    return "hidden files" if entries and not visible else _first_names(visible)


def _hidden(path: Path, folder: Path) -> bool:
    """Return whether `path`, or a folder between it and `folder`, is hidden. `folder` itself may be hidden."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else NOTHING
