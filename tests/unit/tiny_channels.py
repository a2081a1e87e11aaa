"""Small channels for the tests of `inspect`, as people write them by hand, without `prepare`."""

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from local.datasets.photo_cache import PhotoCache
from local.inspection import census, findings, settings
from local.inspection.census import Census
from local.inspection.finding import Finding
from train.data import recordio

SIZE = (40, 32)
Box = tuple[int, int, int, int, int]
"""Class, left, top, width, height in pixels."""


def photo(seed: int, size: tuple[int, int] = SIZE, grey: bool = False, kind: str = "JPEG") -> bytes:
    """Return a photo that differs for each seed, in colour unless `grey`."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    small[0, 0] = (255, 0, 0)
    image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    (image.convert("L") if grey else image).save(file, kind)
    return file.getvalue()


def write(path: Path, data: bytes | str) -> Path:
    """Write a file and create the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def lst(root: Path, channel: str, labels: Sequence[Any], first: int, photos: Sequence[bytes] | None = None) -> None:
    """Write an image-classification channel with a photo for each label. Seeds count from `first`."""
    lines = []
    for index, label in enumerate(labels):
        write(root / channel / f"{index}.jpg", photos[index] if photos else photo(first + index))
        lines.append(f"{index}\t{label}\t{index}.jpg\n")
    write(root / f"{channel}_lst" / f"{channel}.lst", "".join(lines))


def both_lst(root: Path, train: Sequence[Any], validation: Sequence[Any]) -> Path:
    """Write both channels, without a photo that is in both."""
    lst(root, "train", train, 0)
    lst(root, "validation", validation, 10_000)
    return root


def boxes(
    root: Path, channel: str, boxes_by_photo: Sequence[Sequence[Box]], first: int, size: tuple[int, int] = SIZE
) -> None:
    """Write an object-detection channel with a photo for each list of boxes."""
    for index, rows in enumerate(boxes_by_photo):
        write(root / channel / f"{index}.jpg", photo(first + index, size))
        objects = [dict(zip(("class_id", "left", "top", "width", "height"), row, strict=True)) for row in rows]
        write(root / f"{channel}_annotation" / f"{index}.json", json.dumps({"annotations": objects}))


def both_boxes(root: Path, train: Sequence[Sequence[Box]], validation: Sequence[Sequence[Box]]) -> Path:
    """Write both channels."""
    boxes(root, "train", train, 0)
    boxes(root, "validation", validation, 10_000)
    return root


def box_record(rows: Sequence[Sequence[float]], index: int) -> bytes:
    """Return a detection record. Each box is class, xmin, ymin, xmax, ymax."""
    return recordio.pack_image([2.0, 5.0, *(float(value) for row in rows for value in row)], index, photo(index))


def records(root: Path, channel: str, packed: Sequence[bytes]) -> Path:
    """Write a RecordIO channel."""
    path = root / channel / f"{channel}.rec"
    path.parent.mkdir(parents=True, exist_ok=True)
    with recordio.Writer(path) as writer:
        for record in packed:
            writer.write(record)
    return path


def mask(*values: int, size: tuple[int, int] = SIZE) -> bytes:
    """Return a PNG mask with stripes of the values, all of the same width."""
    width, height = size
    row = np.repeat(np.array(values, np.uint8), -(-width // len(values)))[:width]
    file = io.BytesIO()
    Image.fromarray(np.tile(row, (height, 1))).save(file, "PNG")
    return file.getvalue()


def masks(root: Path, channel: str, mask_files: Sequence[bytes], first: int) -> None:
    """Write a semantic-segmentation channel with a photo for each mask."""
    for index, data in enumerate(mask_files):
        write(root / channel / f"{index}.jpg", photo(first + index))
        write(root / f"{channel}_annotation" / f"{index}.png", data)


def both_masks(root: Path, train: Sequence[bytes], validation: Sequence[bytes]) -> Path:
    """Write both channels."""
    masks(root, "train", train, 0)
    masks(root, "validation", validation, 10_000)
    return root


def folders(root: Path, channel: str, counts: dict[str, int], first: int) -> Path:
    """Write class folders with this many photos each."""
    for name, count in counts.items():
        for index in range(count):
            write(root / channel / name / f"{index}.jpg", photo(first + 100 * sorted(counts).index(name) + index))
    return root


def take_census(name: str, root: Path, side: int = 16, **options: Any) -> Census:
    """Return the census of channels. A batch is one photo unless `mini_batch_size` is given."""
    job_settings = dataclasses.replace(
        settings.defaults(name).with_shape((side, side)), **{"mini_batch_size": 1} | options
    )
    return census.take(name, root, job_settings, PhotoCache())


def findings_in(name: str, root: Path, side: int = 16, **options: Any) -> list[Finding]:
    """Return the findings in channels."""
    return findings.find(take_census(name, root, side, **options))


def messages_in(name: str, root: Path, side: int = 16, **options: Any) -> list[str]:
    """Return the messages of the findings. "!" marks those that end the job."""
    return [("!" if finding.fatal else "") + finding.message for finding in findings_in(name, root, side, **options)]
