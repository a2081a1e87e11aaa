"""Channels: what `inputdataconfig.json` says of the data, and where it lies."""

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
_OTHERS = ("pretrained", "model", "test")  # no misspellings of those that are required


@dataclass(frozen=True)
class Channel:
    """One input channel: its name, the folder it lies in, and its content type ("" when the user gave none)."""

    name: str
    path: Path
    content_type: str
    kind: str = "channel"
    """What messages call it; "folder" where there is no job yet."""
    sharded: bool = False
    """Whether each host has files of its own, by the distribution ShardedByS3Key."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"

    def files(self, suffixes: tuple[str, ...] = ("",)) -> list[Path]:
        """Return the files at any depth whose names end in one of `suffixes`, in order.

        Hidden files and all in hidden folders are passed over: notebooks and desktops leave them, not the user.
        """
        return sorted(
            path
            for path in self.path.rglob("*")
            if path.name.lower().endswith(suffixes) and not _hidden(path, self.path) and path.is_file()
        )

    def only_file(self, suffix: str) -> Path:
        """Return the channel's one file that ends in `suffix`, at any depth. Raises UserError for none or several."""
        found = self.files((suffix,))
        if len(found) == 1:
            return found[0]
        if not found:
            lying = listing(self.path)
            told = ": it is empty" if lying == NOTHING else f", only {lying}"
            raise UserError(f"channel {self.name!r} holds no {suffix} file{told}")
        names = [path.relative_to(self.path).as_posix() for path in found]
        raise UserError(f"channel {self.name!r} holds {len(found)} {suffix} files ({_first(names)}): it must hold one")

    def name_of(self, path: Path) -> str:
        """Return a file of this channel as its user knows it: the channel's name, then the path in it."""
        return f"{self.name}/{path.relative_to(self.path).as_posix()}"


def load(input_dir: Path) -> dict[str, Channel]:
    """Return the job's channels by name.

    `input_dir` is `/opt/ml/input`. Without an inputdataconfig.json every folder under `data` is a channel, so that
    a plain `docker run` needs no such file. File and FastFile are alike: a folder that is only read. Raises
    UserError for Pipe mode, for a channel whose folder is missing, and for a file that is no JSON object.
    """
    config_file, data = input_dir / "config" / "inputdataconfig.json", input_dir / "data"
    if not config_file.exists():
        return folder_channels(data)
    found = {}
    for name, values in configuration.read(config_file).items():
        if not isinstance(values, dict | None):
            raise UserError(
                f"{config_file} has {name!r}: {json.dumps(values)[:60]}: a channel is an object, such as "
                '{"ContentType": "image/jpeg"}, or {}'
            )
        found[name] = _channel(name, data / name, values or {})
    return found


def folder_channels(folder: Path) -> dict[str, Channel]:
    """Return every folder in `folder`, which need not be there, as a channel by name; hidden ones are passed over."""
    if not folder.is_dir():
        return {}
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not _hidden(path, folder))
    return {path.name: Channel(path.name, path, "") for path in folders}


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
    return Channel(name, path, content_type, sharded=values.get("S3DistributionType") == "ShardedByS3Key")


def require_all(channels: dict[str, Channel], labels: str, why: str) -> None:
    """Raise UserError naming all that is missing of the channels that an algorithm trains on, and `why` it needs them.

    They are `train` and `validation`, and beside each one that is not RecordIO its labels, `train_LABELS`. A channel
    that is not given counts as of the form of the other.
    """
    records = {name: by_record(channels, name, f"{name}_{labels}") for name in _BOTH if name in channels}
    wanted = []
    for name in _BOTH:
        wanted += [name] if records.get(name, any(records.values())) else [name, f"{name}_{labels}"]
    missing = [name for name in wanted if name not in channels]
    if missing:
        known = {*_BOTH, *(f"{name}_{labels}" for name in _BOTH), *_OTHERS}
        asked = ((name, _near(name, missing)) for name in channels if name not in known)
        hints = [f"{name!r}: did you mean {near}?" for name, near in asked if near]
        what = "channel {} is" if len(missing) == 1 else "channels {} are"
        raise UserError(
            what.format(", ".join(map(repr, missing)))
            + f" missing (given: {'; '.join([', '.join(sorted(channels)) or 'none', *hints])}): {why}"
        )


def _near(name: str, missing: Sequence[str]) -> str | None:
    """Return the missing channel that `name` may stand for: `train` for `training`, `validation` for `val`."""
    lower = name.lower()
    begun = [wanted for wanted in missing if len(lower) >= 3 and wanted.startswith(lower)]
    close = difflib.get_close_matches(lower, missing, n=1, cutoff=0.6)
    return next(iter(close + begun), None)


def refuse_unsupported(channels: dict[str, Channel]) -> None:
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


def class_names(
    channels: dict[str, Channel], names: Iterable[str], classes: int | None, peers: Peers = ALONE
) -> tuple[str, ...] | None:
    """Return the lines of classes.txt in the first of the channels `names` that has one, or None.

    Of several hosts, which all must call it, the first that has the file decides: a sharded channel gives it to one.
    Raises UserError when they are not `classes` in number, unless that is None, or no text.
    """
    found = peers.gather_json(_class_names(channels, names, classes))
    return next((tuple(each) for each in found if each is not None), None)


def _class_names(channels: dict[str, Channel], names: Iterable[str], classes: int | None) -> tuple[str, ...] | None:
    for channel in names:
        path = channels[channel].path / CLASSES if channel in channels else None
        if path is None or not path.exists():
            continue
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
        except UnicodeDecodeError as error:
            raise UserError(f"{channel}/{CLASSES} is not UTF-8 text ({error}): save it as UTF-8") from None
        found = tuple(line for line in lines if line)
        if classes is not None and len(found) != classes:
            raise UserError(
                f"{channel}/{CLASSES} names {plural(len(found), 'class')} and num_classes={classes}: it "
                "needs one line per class, in the order of the labels"
            )
        return found
    return None


def listing(folder: Path) -> str:
    """Return the names of a folder's first five entries that are not hidden, folders with a slash; or NOTHING."""
    entries = sorted(folder.iterdir())
    seen = [path.name + "/" * path.is_dir() for path in entries if not _hidden(path, folder)]
    return "hidden files" if entries and not seen else _first(seen)


def _hidden(path: Path, folder: Path) -> bool:
    """Return whether `path` is hidden, or in a hidden folder, as seen from `folder`, which may itself be hidden."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else NOTHING
