"""Parse augmented manifests of SageMaker: JSON Lines, one per photo in S3, with the labels that Ground Truth adds.

    {"source-ref": "s3://bucket/a/1.jpg", "NAME": LABEL, "NAME-metadata": {"type": "groundtruth/...", ...}}

The format is described in SageMaker's developer guide ("Labeling job output data"). NAME is set when a job is created.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.datasets.dataset import TRAIN, UNUSABLE, VALIDATION
from local.datasets.files import parts, texts
from local.datasets.files.walk import list_files
from local.datasets.notes import Notes, require_usable
from local.errors import UserError

Json = Any

_SUFFIXES = (".manifest", ".jsonl", ".json")
_REFS = ("source-ref", "image-ref")  # image-ref is in the guide's manifests for the built-in image classification
_METADATA = "-metadata"
_MAX_LINE_BYTES = 400_000  # Ground Truth allows 100,000 characters
_MAX_JSON_FILES = 20  # a folder with more .json files has one file per photo
_NO_PHOTO = (".json", ".jsonl", ".txt", ".csv", ".mp4", ".mov", ".avi", ".pcd", ".bin", ".pdf")
_OTHER_TYPES = ("groundtruth/video", "groundtruth/point-cloud", "groundtruth/text")
# Folders that a job writes next to `manifests`, the folder of its output.
_JOB_FOLDERS = {"activelearning", "annotation-tool", "annotations", "inference", "intermediate", "temp", "training"}


@dataclass(frozen=True)
class Label:
    """A label of a line: its value, or None if the job failed, and the metadata of the job, if any.

    `where` is the place of the line for messages.
    """

    where: str
    name: str
    value: Json
    metadata: Mapping[str, Json]

    @property
    def type(self) -> str:
        """Ground Truth's name of the task, or ""."""
        return str(self.metadata.get("type", ""))

    @property
    def failure(self) -> str:
        """The reason why the job failed for this line, or ""."""
        return " ".join(str(self.metadata.get("failure-reason", "")).split())[:80]


@dataclass(frozen=True)
class Line:
    """A line of a manifest: its place for messages, its file and part, the URI of the photo, and its content.

    `part` is TRAIN, VALIDATION, TEST or "", taken from the name of the file or of a folder above it.
    """

    where: str
    file: Path
    part: str
    ref: str
    content: Mapping[str, Json]

    def jobs(self) -> Iterator[Label]:
        """Yield the label that each job wrote, in the order of the line."""
        for key, metadata in self.content.items():
            if key.endswith(_METADATA) and isinstance(metadata, dict):
                name = key.removesuffix(_METADATA)
                # The guide's example of an adjusted mask has NAME-ref next to NAME-metadata.
                value = self.content.get(name, self.content.get(f"{name}-ref"))
                yield Label(self.where, name, None if "failure-reason" in metadata else value, metadata)

    def attributes(self) -> Iterator[Label]:
        """Yield all attributes as labels, for manifests written by hand."""
        for name, value in self.content.items():
            if name not in _REFS and not name.endswith(_METADATA):
                metadata = self.content.get(name + _METADATA)
                yield Label(self.where, name, value, metadata if isinstance(metadata, dict) else {})


def files(root: Path) -> Iterator[Path]:
    """Yield the manifests below `root`, recognised by their first lines. For a job, yield only its output."""
    paths = [root / name for name in list_files(root, _SUFFIXES)]
    json_counts = Counter(path.parent for path in paths if path.name.lower().endswith(".json"))
    for path in paths:
        per_photo = path.name.lower().endswith(".json") and json_counts[path.parent] > _MAX_JSON_FILES
        folders = path.relative_to(root).parents[:-1]
        if not per_photo and not any(_is_not_output(root / folder) for folder in folders) and _is_manifest(path):
            yield path


def lines(root: Path, notes: Notes) -> list[Line]:
    """Read all manifests below `root` in the order of their paths. Note lines that cannot be used.

    Raise UserError naming the file and the line if there is no manifest, if a manifest labels text, videos or point
    clouds, or if more lines are invalid than valid.
    """
    paths = list(files(root))
    if not paths:
        raise UserError(
            f"{root} has no manifest: put a file *.manifest, *.jsonl or *.json there, with a JSON object with a "
            '"source-ref" on each line'
        )
    valid: list[Line] = []
    invalid: list[str] = []
    for path, part in zip(paths, _parts(root, paths), strict=True):
        for where, text in _texts(root, path):
            try:
                valid.append(_line(where, path, part, text))
            except ValueError as error:
                invalid.append(f"{where} {error}")
    require_usable(root, len(valid), invalid, "line")
    notes[UNUSABLE] = invalid
    return valid


def _is_not_output(folder: Path) -> bool:
    """Return whether a folder belongs to a job but does not hold its output."""
    if folder.parent.name == "manifests":
        return folder.name != "output" and folder.with_name("output").is_dir()
    return folder.name in _JOB_FOLDERS and folder.with_name("manifests").is_dir()


def _is_manifest(path: Path) -> bool:
    """Return whether the first line is about a photo, or about a text that a job labelled."""
    start = next((line for line in texts.first_bytes(path, _MAX_LINE_BYTES).splitlines() if line.strip()), b"")
    try:
        first = json.loads(start.decode("utf-8-sig")) if b"source" in start or b"image-ref" in start else None
    except (ValueError, RecursionError):
        return False
    if not isinstance(first, dict):
        return False
    text = isinstance(first.get("source"), str) and any(key.endswith(_METADATA) for key in first)
    return text or any(isinstance(first.get(key), str) for key in _REFS)


def _texts(root: Path, path: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of a file that are not blank, each with its place for messages."""
    name = path.relative_to(root).as_posix()
    text = texts.read_text(path, name)
    # Not splitlines: it also splits at characters that JSON strings may contain.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{name} line {number}", line


def _line(where: str, path: Path, part: str, text: str) -> Line:
    """Parse a line. Raise ValueError if it is invalid, and UserError if the whole file is of the wrong kind."""
    try:
        content = json.loads(text)
        if r"\ud" in text.lower():
            json.dumps(content, ensure_ascii=False).encode()  # Lone surrogates cannot be printed.
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} in column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)[:80]
        raise ValueError(f"is not JSON ({reason}): a manifest has one object on each line") from None
    if not isinstance(content, dict):
        raise ValueError('is not a JSON object: it needs at least "source-ref", the URI of a photo')
    ref = next((content[key] for key in _REFS if key in content), None)
    if ref is None and "source" in content:
        raise UserError(f'{where} has a "source", which is text: use "source-ref" for photos')
    if not isinstance(ref, str) or not ref.strip("/\\ ") or re.search(r"[\x00-\x1f\x7f]", ref):
        raise ValueError('has no "source-ref": add the URI of a photo, such as s3://bucket/a/1.jpg')
    line = Line(where, path, part, ref, content)
    for label in line.jobs():
        if label.type.startswith(_OTHER_TYPES):
            raise UserError(f"{where} is from a job of the type {label.type[:60]}: use a job that labels photos")
    if ref.lower().endswith(_NO_PHOTO):
        raise UserError(f"{where} is about {ref}, which is not a photo: use a manifest of photos")
    return line


def _parts(root: Path, paths: Sequence[Path]) -> list[str]:
    """Return the part of each manifest. Ignore TEST if there is no other part, because many job names contain test."""
    names = [parts.of_path(path.relative_to(root).with_suffix("")) for path in paths]
    return names if {*names} & {TRAIN, VALIDATION} else [""] * len(paths)
