"""What tests/framework/test_segmentation_data.py runs inside the MXNet environment."""

import io
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

_SETS = ("train", "validation")
_LEVELS = np.array([30, 130, 230], np.uint8)
"""The grey of each class in drawn photos, so that a mask can be told from its photo."""


# ---- augmentation -----------------------------------------------------------------------------------------------


def _classes(rng: np.random.Generator, width: int, height: int, kinds: int = 3) -> np.ndarray:
    """A mask uint8 (H, W) of large patches."""
    coarse = rng.integers(0, kinds, (3, 4)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST))


def _photo(mask: np.ndarray) -> np.ndarray:
    return np.repeat(_LEVELS[mask][..., None], 3, axis=2)


def _inner(mask: np.ndarray, reach: int = 2) -> np.ndarray:
    """Where a mask is the same for `reach` pixels around: bool (H, W)."""
    same = np.ones(mask.shape, bool)
    for axis in (0, 1):
        for shift in (*range(-reach, 0), *range(1, reach + 1)):
            same &= np.roll(mask, shift, axis) == mask
    return same


def _wrong(photo: np.ndarray, mask: np.ndarray, reach: int = 2) -> float:
    """Share of the pixels of a grey photo that are not of the level of their class, away from edges."""
    where = _inner(mask, reach) & (mask != 255)
    seen = np.abs(photo[..., :1].astype(int) - _LEVELS.astype(int)).argmin(axis=2)
    return float((seen != mask)[where].mean()) if where.any() else 0.0


def masks_stay_on_their_photo() -> dict[str, float]:
    """Photos of two levels: share of the pixels that are of the wrong one, whatever the colours made of them."""
    from train.semantic_segmentation.augment import augment

    wrong, compared = [], 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        width, height = (int(side) for side in rng.integers(40, 500, 2))
        mask = _classes(rng, width, height, 2)
        made, labels = augment(_photo(mask), mask, 150, 120, rng)
        where = _inner(labels) & (labels != 255)
        if not where.any() or set(np.unique(labels[where])) != {0, 1}:
            continue
        compared += 1
        dark, light = (np.median(made[where & (labels == label)]) for label in (0, 1))
        wrong.append(float(((made[..., 0] > (dark + light) / 2) != labels)[where].mean()))
    return {"wrong": float(np.mean(wrong)), "compared": compared}


def augmented_pairs_are_sound() -> str:
    """Drawn photos, sizes and masks; strips too: shapes, types, fill, and the same again with the same seed."""
    from train.semantic_segmentation.augment import augment

    fill = [124, 116, 104]  # ImageNet's mean
    for seed in range(400):
        rng = np.random.default_rng(seed)
        height, width = ((1, 3000), (2500, 1), (1, 1))[seed] if seed < 3 else (int(v) for v in rng.integers(1, 300, 2))
        base, crop = int(rng.integers(17, 200)), 8 * int(rng.integers(3, 30))
        photo = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        mask = rng.integers(0, 5, (height, width)).astype(np.uint8)
        made, labels = augment(photo, mask, base, crop, np.random.default_rng(seed))
        assert (made.shape, labels.shape) == ((crop, crop, 3), (crop, crop)), seed
        assert (made.dtype, labels.dtype) == (np.uint8, np.uint8), seed
        inside = labels != 255
        high, wide = inside.any(axis=1).sum(), inside.any(axis=0).sum()
        assert inside[:high, :wide].all(), "what is filled lies right and below"
        assert inside.sum() == high * wide, seed
        assert (made[~inside] == fill).all(), seed
        assert set(np.unique(labels)) <= {*np.unique(mask).tolist(), 255}, seed
        again = augment(photo, mask, base, crop, np.random.default_rng(seed))
        assert np.array_equal(made, again[0]), seed
        assert np.array_equal(labels, again[1]), seed
    return "sound"


def scales() -> dict[str, float]:
    """Widths that a wide photo gets with base_size 100, where the crop is larger; and how often left is right."""
    from train.semantic_segmentation.augment import augment

    mask = np.zeros((60, 90), np.uint8)
    mask[:, 45:] = 1
    widths, flipped = [], 0
    for seed in range(2000):
        _, labels = augment(np.zeros((60, 90, 3), np.uint8), mask, 100, 208, np.random.default_rng(seed))
        widths.append(int((labels[0] != 255).sum()))
        flipped += int(labels[0, 0] == 1)
    return {"least": min(widths), "most": max(widths), "mean": float(np.mean(widths)), "flipped": flipped / 2000}


def resized_parts() -> int:
    """Largest difference of a resized part from that part of the whole, resized: smaller and larger, all corners."""
    from train.semantic_segmentation.augment import resize

    photo, worst = np.random.default_rng(0).integers(0, 256, (150, 200, 3)).astype(np.uint8), 0
    for width, height in ((40, 30), (73, 55), (200, 150), (460, 345)):
        whole = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)).astype(int)
        for x, y in ((0, 0), (width - 20, height - 20), (11, 3)):
            columns = (x * 200 / width, (x + 20) * 200 / width, 20)
            rows = (y * 150 / height, (y + 20) * 150 / height, 20)
            part = resize(photo, columns, rows, Image.Resampling.BILINEAR)
            worst = max(worst, int(np.abs(part - whole[y : y + 20, x : x + 20]).max()))
    return worst


def colours() -> dict[str, Any]:
    """Least and most of the factors, read off what the matrices make of a photo's colours."""
    from train.semantic_segmentation.augment import _colour

    luminance = np.array([0.299, 0.587, 0.114])
    photo = np.random.default_rng(1).integers(60, 120, (40, 50, 3)).astype(np.uint8)
    mean = photo.reshape(-1, 3).mean(axis=0)
    found: dict[str, list[float]] = {"brightness": [], "contrast": [], "saturation": []}
    moved = []
    for seed in range(3000):
        matrix = _colour(photo, np.random.default_rng(seed))
        after = luminance @ (matrix @ [*mean, 1])
        brightness = after / (luminance @ mean)
        slope = luminance @ matrix[:, :3] @ [1, 1, 1]
        tint = matrix[:, :3] @ [1, 0, 0]
        found["brightness"].append(brightness)
        found["contrast"].append(slope / brightness)
        found["saturation"].append((tint[0] - tint[1]) / slope)
        moved.append(abs(matrix[0] @ [*[luminance @ mean] * 3, 1] - after))
    return {name: [float(min(v)), float(max(v))] for name, v in found.items()} | {"mean moves": float(max(moved))}


# ---- channels ---------------------------------------------------------------------------------------------------


def _jpeg(image: Image.Image, orientation: int = 1) -> bytes:
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(data, "JPEG", quality=95, exif=exif)
    return data.getvalue()


def _png(pixels: np.ndarray | Image.Image) -> bytes:
    data = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(data, "PNG")
    return data.getvalue()


def put(base: Path, channel: str, name: str, photo: bytes | None, mask: bytes | None) -> None:
    """Write a photo and its mask; None for either leaves it out."""
    root = base / "input" / "data"
    for path, data in (
        (root / channel / name, photo),
        (root / f"{channel}_annotation" / Path(name).with_suffix(".png"), mask),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is not None:
            path.write_bytes(data)


def write_channels(base: Path, train: int = 8, validation: int = 4) -> Path:
    """Four channels of drawn photos of 160 x 120 and their masks under `base`/input/data; returns `base`."""
    rng = np.random.default_rng(0)
    for channel, count in zip(_SETS, (train, validation), strict=True):
        for index in range(count):
            mask = _classes(rng, 160, 120)
            put(base, channel, f"{index}.jpg", _jpeg(Image.fromarray(_photo(mask))), _png(mask))
    return base


def _add(base: Path, name: str, text: str) -> None:
    path = base / "input" / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def hyperparameters(**changes: Any) -> dict[str, Any]:
    """Checked hyperparameters of small jobs."""
    from train.semantic_segmentation import table

    values = {"num_classes": 3, "num_training_samples": 8, "mini_batch_size": 4, "base_size": 128, "crop_size": 90}
    return table.check({name: str(value) for name, value in (values | changes).items()})


@contextmanager
def _log() -> Iterator[list[str]]:
    from train.log import LOG

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        LOG.removeHandler(handler)


def _load(base: Path, **changes: Any) -> Any:
    from train import channels
    from train.semantic_segmentation import data

    return data.load(channels.load(base / "input"), hyperparameters(**changes))


def _message(base: Path, **changes: Any) -> str:
    from train.errors import UserError

    try:
        _load(base, **changes)
    except UserError as error:
        return str(error)
    return "nothing was refused"


def batches(folder: str) -> dict[str, Any]:
    """Shapes of a batch, and whether an epoch is the same with the same seed and another in the next epoch."""
    loaded, hp = _load(write_channels(Path(folder))), hyperparameters()
    one, again, other = (next(iter(loaded.train_batches(hp).epoch(number))) for number in (0, 0, 1))
    return {
        "shapes": [list(part.shape) for part in one],
        "types": [str(part.dtype) for part in one],
        "count": len(loaded.train_batches(hp)),
        "same": all(np.array_equal(a, b) for a, b in zip(one, again, strict=True)),
        "other": bool(np.array_equal(one[0], other[0])),
        "labels": sorted({float(value) for value in np.unique(one[1])}),
        "finite": all(bool(np.isfinite(part).all()) for part in one),
    }


def _odd(base: Path) -> None:
    """Photos of every awkward kind in the validation channel, whose masks are of the stored pixels."""
    rng = np.random.default_rng(5)
    shapes = {"wide": (301, 77), "high": (59, 222), "tiny": (1, 1), "strip": (1, 3000), "large": (1201, 801)}
    for name, (width, height) in shapes.items():
        mask = _classes(rng, width, height)
        put(base, "validation", f"{name}.jpg", _jpeg(Image.fromarray(_photo(mask))), _png(mask))
    mask = _classes(rng, 150, 101)
    put(base, "validation", "grey.png", _png(_photo(mask)[..., 0]), _png(mask))
    put(base, "validation", "turned.jpg", _jpeg(Image.fromarray(_photo(mask)), 6), _png(mask))
    cmyk = Image.fromarray(_photo(mask)).convert("CMYK")
    put(base, "validation", "cmyk.jpg", _jpeg(cmyk), _png(mask))


def validation_as_served(folder: str, mini_batch: int) -> dict[str, Any]:
    """Validation tensors beside the server's own of the same bytes, and masks beside their photos."""
    from serve import preprocess

    base = write_channels(Path(folder), validation=1)
    _odd(base)
    loaded = _load(base, validation_mini_batch_size=mini_batch)
    data = [sample.read() for sample in loaded.validation]
    tensors = [loaded.whole_tensor(index) for index in range(len(data))]
    upright = [preprocess.decode(one) for one in data]
    masks = [loaded.mask(index) for index in range(len(data))]
    names = [sample.name for sample in loaded.validation]
    judged = [index for index, name in enumerate(names) if name != "cmyk.jpg"]  # its greys are other ones
    return {
        "count": len(data),
        "same": sum(np.array_equal(t, preprocess.load(one, loaded.spec)) for t, one in zip(tensors, data, strict=True)),
        "spec": [loaded.spec.rule, loaded.spec.height, loaded.spec.width, loaded.spec.resize],
        "shapes": sorted({tensor.shape for tensor in tensors}),
        "masks": [mask.shape for mask in masks],
        "upright": [(image.height, image.width) for image in upright],
        "wrong": max(_wrong(np.asarray(upright[index]), masks[index]) for index in judged),
    }


def _pixels(tensor: np.ndarray, spec: Any) -> np.ndarray:
    """A normalised tensor (3, H, W) as the photo (H, W, 3) that it was."""
    mean, std = np.array(spec.mean)[:, None, None], np.array(spec.std)[:, None, None]
    return np.rint((tensor * std + mean) * 255).transpose(1, 2, 0)


def validation_crops(folder: str, mini_batch: int) -> dict[str, Any]:
    """Crops beside their masks, and a photo whose middle square alone is of class 1, to its corners."""
    base = write_channels(Path(folder))
    mask = np.zeros((120, 360), np.uint8)
    mask[:, 120:240] = 1
    put(base, "validation", "middle.jpg", _jpeg(Image.fromarray(_photo(mask))), _png(mask))
    large = _classes(np.random.default_rng(2), 1000, 801)
    put(base, "validation", "large.jpg", _jpeg(Image.fromarray(_photo(large))), _png(large))
    loaded = _load(base, validation_mini_batch_size=mini_batch)
    found = [(loaded.crop_tensor(index), loaded.crop_mask(index)) for index in range(len(loaded.validation))]
    middle = found[[sample.name for sample in loaded.validation].index("middle.jpg")][1]
    return {
        "shapes": sorted({(tensor.shape, mask.shape) for tensor, mask in found}),
        "types": [str(part.dtype) for part in found[0]],
        "wrong": max(_wrong(_pixels(tensor, loaded.spec), mask) for tensor, mask in found),
        "centre": [int(middle[y, x]) for y in (0, -1) for x in (0, -1)],
    }


def _renumber(base: Path, channel: str, values: list[int]) -> None:
    """Write other pixel values into the masks of a set: class i becomes values[i]."""
    for path in (base / "input" / "data" / f"{channel}_annotation").glob("*.png"):
        mask = np.asarray(Image.open(path))
        path.write_bytes(_png(np.array(values, np.uint8)[mask]))


def label_maps(folder: str) -> dict[str, Any]:
    """What channels with label maps give beside the same ones with class ids."""
    plain = _load(write_channels(Path(folder, "plain")), validation_mini_batch_size=1)
    base = write_channels(Path(folder, "mapped"))
    _renumber(base, "train", [7, 4, 250])
    _renumber(base, "validation", [2, 3, 8])
    _add(base, "label_map/train_label_map.json", json.dumps({"map": {"0": 7, "1": [3, 4], "2": "250"}}))
    _add(base, "label_map/validation_label_map.json", json.dumps({"scale": "3"}))
    _add(base, "label_map/classes.txt", "sky\nsea\nland\n")
    with _log() as lines:
        mapped = _load(base, validation_mini_batch_size=1)
    one, other = (next(iter(loaded.train_batches(hyperparameters()).epoch(0))) for loaded in (plain, mapped))
    return {
        "masks": all(np.array_equal(plain.mask(i), mapped.mask(i)) for i in range(4)),
        "batches": all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)),
        "lines": lines,
        "names": mapped.class_names,
    }


def plain(folder: str) -> list[str]:
    """The log of a set that has no label map."""
    with _log() as lines:
        _load(write_channels(Path(folder)))
    return lines


def black_photo(folder: str) -> int:
    """How many pairs are read of two PNG photos, one of which is black, as its mask is, byte for byte."""
    base, mask = write_channels(Path(folder), train=0), _classes(np.random.default_rng(0), 160, 120)
    black = _png(np.zeros((120, 160), np.uint8))
    put(base, "train", "a.png", black, black)
    put(base, "train", "b.png", _png(_photo(mask)), _png(mask))
    return len(_load(base, mini_batch_size=2).train)


def dirt(folder: str) -> dict[str, Any]:
    """One channel with every kind of dirt: what was kept, what was logged, and whether masks lie on their photos."""
    base, rng = write_channels(Path(folder)), np.random.default_rng(9)

    def scene() -> tuple[Image.Image, np.ndarray]:
        mask = _classes(rng, 160, 120)
        return Image.fromarray(_photo(mask)), mask

    image, mask = scene()
    put(base, "train", "a_turned.jpg", _jpeg(image, 6), _png(mask))
    image, mask = scene()
    put(base, "train", "b_upright.jpg", _jpeg(image, 6), _png(np.rot90(mask, -1)))
    image, mask = scene()
    mask = mask.copy()
    mask[:5] = 255
    put(base, "train", "c_grey.png", _png(image.convert("L")), _png(mask))
    image, mask = scene()
    put(base, "train", "d_colour_mask.jpg", _jpeg(image), _png(Image.fromarray(mask).convert("RGB")))
    image, mask = scene()
    put(base, "train", "sub/e_deep.jpg", _jpeg(image), None)
    put(base, "train", "e_deep.jpg", None, _png(mask))
    image, mask = scene()
    put(base, "train", "f_truncated.jpg", _jpeg(image)[:300], _png(mask))
    put(base, "train", "g_colours.jpg", _jpeg(image), _png(np.dstack([mask * 100, mask * 50, mask])))
    noise = rng.integers(0, 3, (120, 160)).astype(np.uint8)
    put(base, "train", "h_broken_mask.jpg", _jpeg(image), _png(noise)[:900])
    put(base, "train", "i_other_size.jpg", _jpeg(image), _png(_classes(rng, 80, 60)))
    for name in ("w_no_mask.jpg", "z_no_mask.jpg"):
        put(base, "train", name, _jpeg(image), None)
    put(base, "train", "x_alone.jpg", None, _png(mask))
    with _log() as lines:
        loaded = _load(base, unreadable_tolerance=0.2, num_classes=4)
    count = len(loaded.train)
    return {
        "names": sorted(sample.name for sample in loaded.train),
        "lines": lines,
        "wrong": max(_wrong(loaded.photos[index], loaded.labels[index]) for index in range(count)),
    }


def large_photos(folder: str) -> dict[str, Any]:
    """In what size photos of 1600 x 1200 are kept for base_size 128, as JPEG (decoded smaller) and as PNG."""
    base, mask = write_channels(Path(folder)), _classes(np.random.default_rng(3), 1600, 1200)
    image = Image.fromarray(_photo(mask))
    stripes = 100 * (np.arange(1600) // 12 % 2)  # 256 pixels across can show them, 200 cannot
    fine = Image.fromarray(np.broadcast_to(stripes[None, :, None], (1200, 1600, 3)).astype(np.uint8))
    put(base, "train", "w_fine.jpg", _jpeg(fine), _png(mask))
    put(base, "train", "x_fine.png", _png(fine), _png(mask))
    put(base, "train", "y_large.jpg", _jpeg(image), _png(mask))
    put(base, "train", "z_other.png", _png(image), _png(mask))
    loaded = _load(base)
    pairs = [(loaded.photos[index], loaded.labels[index]) for index in range(len(loaded.train))][-4:]
    return {
        "shapes": [[photo.shape, labels.shape] for photo, labels in pairs],
        "unlike": float(np.abs(np.subtract(pairs[0][0], pairs[1][0], dtype=float)).mean()),
        "wrong": max(_wrong(photo, labels) for photo, labels in pairs[2:]),
    }


def without_memory(folder: str) -> list[bool]:
    """Whether training, whole and cropped validation data are the same where nothing can be kept."""
    from train import samples

    base, hp = write_channels(Path(folder)), hyperparameters()
    _odd(base)
    kept = _load(base, validation_mini_batch_size=1)
    with mock.patch.object(samples, "memory_budget", return_value=0):
        read = _load(base, validation_mini_batch_size=1)
    every = range(len(kept.validation))
    one, other = (next(iter(loaded.train_batches(hp).epoch(0))) for loaded in (kept, read))
    return [
        all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)),
        all(np.array_equal(kept.mask(i), read.mask(i)) for i in every),
        all(np.array_equal(kept.crop_tensor(i), read.crop_tensor(i)) for i in every)
        and all(np.array_equal(kept.crop_mask(i), read.crop_mask(i)) for i in every),
    ]


# ---- refusals ---------------------------------------------------------------------------------------------------


def _refused_names(base: Path) -> dict[str, str]:
    """What is said of files that are not there, or of which two may be meant."""
    said, root = {}, write_channels(base / "files") / "input" / "data"

    def fresh() -> Path:
        shutil.rmtree(base / "files")
        return write_channels(base / "files")

    shutil.rmtree(root / "train_annotation")
    said["no annotations"] = _message(base / "files")
    (root / "train" / "train.rec").write_bytes(b"")
    said["rec file"] = _message(base / "files")
    fresh()
    for path in (root / "validation_annotation").glob("*.png"):
        path.rename(path.with_suffix(".txt"))
    said["no masks"] = _message(base / "files")
    fresh()
    for path in (root / "train_annotation").glob("*.png"):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    said["other names"] = _message(base / "files")
    fresh()
    for index in range(1, 8):
        (root / "train" / f"{index}.jpg").rename(root / "train" / f"{index}.HEIC")
        (root / "train" / f"{index}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    said["HEIC"] = _message(base / "files")
    fresh()
    for index in range(1, 8):
        Image.open(root / "train_annotation" / f"{index}.png").save(root / "train_annotation" / f"{index}.bmp")
        (root / "train_annotation" / f"{index}.png").unlink()
    said["BMP masks"] = _message(base / "files")
    fresh()
    shutil.copy(root / "train_annotation" / "0.png", root / "train" / "0.png")
    said["two images"] = _message(base / "files")
    fresh()
    both = base / "both"  # one folder for both channels
    for channel, part in (("train", "photos"), ("train_annotation", "masks")):
        shutil.move(root / channel, both / part)
    for channel in ("train", "train_annotation"):
        shutil.copytree(both, root / channel)
    said["one folder"] = _message(base / "files")
    fresh()
    _add(base / "files", "../config/inputdataconfig.json", json.dumps(_config("application/x-recordio")))
    said["record"] = _message(base / "files")
    fresh()
    (root / "model").mkdir()
    said["model"] = _message(base / "files")
    return said


def _config(content_type: str) -> dict[str, Any]:
    channels = ("train_annotation", "validation", "validation_annotation")
    return {"train": {"ContentType": content_type}} | {name: {} for name in channels}


def refusals(folder: str) -> dict[str, str]:
    """What channels that cannot be trained on are refused with."""
    said, base = _refused_names(Path(folder)), Path(folder)
    said["class"] = _message(write_channels(base / "class"), num_classes=2)
    said["fewer than a batch"] = _message(base / "class", mini_batch_size=9)
    _add(base / "class", "train_annotation/classes.txt", "a\nb\n")
    said["names"] = _message(base / "class")
    put(write_channels(base / "nine"), "validation", "1.jpg", None, _png(np.full((120, 160), 9, np.uint8)))
    said["validation class"] = _message(base / "nine")
    _add(write_channels(base / "map"), "label_map/train_label_map.json", '{"map": {"0": 1, "1": 2}}')
    said["unmapped"] = _message(base / "map")
    _add(base / "map", "label_map/train_label_map.json", "{map: 1}")
    said["label map"] = _message(base / "map")
    for case, mask in {
        "sizes": np.zeros((10, 10), np.uint8),
        "colours": np.dstack([np.full((120, 160), value, np.uint8) for value in (1, 2, 3)]),
        "ignored": np.full((120, 160), 255, np.uint8),
        "binary": np.repeat(np.uint8([[0, 255]]), 80, axis=1).repeat(120, axis=0),
    }.items():
        for index in range(8):
            put(write_channels(base / case) if index == 0 else base / case, "train", f"{index}.jpg", None, _png(mask))
        said[case] = _message(base / case)
    return said


# ---- real photos ------------------------------------------------------------------------------------------------


def real_photos(pets: str, folder: str) -> dict[str, Any]:
    """One epoch over the real photos with their trimaps as they are, as the seed project's notebook has it."""
    base = Path(folder)
    trimaps = sorted(p for p in Path(pets, "annotations", "trimaps").glob("*.png") if not p.name.startswith("."))
    trimaps = [path for path in trimaps if Path(pets, "images", f"{path.stem}.jpg").exists()]
    for number, path in enumerate(trimaps):
        photo = Path(pets, "images", f"{path.stem}.jpg")
        put(base, _SETS[number % 5 == 0], photo.name, photo.read_bytes(), path.read_bytes())
    with _log() as lines:
        loaded = _load(base, num_classes=4, mini_batch_size=16)
    labels: set[int] = set()
    for _, part in loaded.train_batches(hyperparameters(mini_batch_size=16)).epoch(0):
        labels |= set(np.unique(part).astype(int).tolist())
    counts = sum(np.bincount(loaded.mask(i).ravel(), minlength=4) for i in range(len(loaded.validation)))
    return {
        "given": len(trimaps),
        "read": len(loaded.train) + len(loaded.validation),
        "labels": sorted(labels),
        "border": float(counts[3] / counts.sum()),
        "lines": lines,
    }
