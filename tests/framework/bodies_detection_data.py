"""What tests/framework/test_detection_data.py runs inside the MXNet environment."""

import io
import json
import logging
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_CHANNELS = ("train", "validation")


def anchors(sizes: tuple[int, ...] = (19, 10, 5, 3, 1)) -> np.ndarray:
    """Anchors float32 (A, 4) like SSD's: three aspects and two sizes at each point of several grids."""
    rows = []
    for grid in sizes:
        for y, x in np.ndindex(grid, grid):
            for scale, aspect in ((1.5, 1), (1.9, 1), (1.5, 2), (1.5, 0.5)):
                size = min(scale / grid, 0.95)
                rows.append([(x + 0.5) / grid, (y + 0.5) / grid, size * aspect**0.5, size / aspect**0.5])
    return np.array(rows, np.float32)


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    centre, size = rng.uniform(0.1, 0.9, (count, 2)), rng.uniform(0.03, 0.6, (count, 2))
    corners = np.clip(np.hstack([centre - size / 2, centre + size / 2]), 0, 1)
    return np.hstack([rng.integers(0, 20, (count, 1)), corners]).astype(np.float32)


# ---- targets ----------------------------------------------------------------------------------------------------


def target_differences() -> dict[str, float]:
    """How far our targets are from GluonCV's on fixed and on drawn boxes."""
    import mxnet as mx
    from gluoncv.model_zoo.ssd.target import SSDTargetGenerator

    from train.object_detection.targets import VARIANCES, assign

    generator = SSDTargetGenerator(iou_thresh=0.5, stds=VARIANCES, negative_mining_ratio=-1)

    def theirs(priors: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ground, kinds = mx.nd.array(boxes[None, :, 1:]), mx.nd.array(boxes[None, :, :1])
        predictions = mx.nd.zeros((1, len(priors), 21))
        classes, offsets, _ = generator(mx.nd.array(priors[None]), predictions, ground, kinds)
        return classes.asnumpy()[0], offsets.asnumpy()[0]

    fixed = [  # one box, two that want the same anchor, equal overlaps, one far smaller than any anchor, a whole photo
        [[3, 0.2, 0.2, 0.6, 0.7]],
        [[0, 0.2, 0.2, 0.6, 0.7], [1, 0.21, 0.2, 0.6, 0.7]],
        [[7, 0.4, 0.4, 0.6, 0.6], [7, 0.1, 0.4, 0.3, 0.6]],
        [[1, 0.501, 0.501, 0.509, 0.509]],
        [[0, 0, 0, 1, 1], [19, 0.9, 0.9, 1, 1]],
    ]
    rng = np.random.default_rng(3)
    cases = [np.array(rows, np.float32) for rows in fixed]
    cases += [_boxes(rng, int(rng.integers(1, 20))) for _ in range(60)]
    priors, found = anchors(), {"classes": 0.0, "offsets": 0.0, "matched": 0.0}
    for boxes in cases:
        (classes, offsets), (wanted_classes, wanted_offsets) = assign(priors, boxes), theirs(priors, boxes)
        found["classes"] = max(found["classes"], float(np.abs(classes - wanted_classes).max()))
        found["offsets"] = max(found["offsets"], float(np.abs(offsets - wanted_offsets).max()))
        found["matched"] += float((classes > 0).sum())
    return found


# ---- augmentation -----------------------------------------------------------------------------------------------


def painted_boxes_stay_on_their_object() -> dict[str, float]:
    """A light rectangle on a dark photo: how far the box is from the rectangle's pixels afterwards, and what was seen.

    The rectangle stays grey whatever the colours do, and the fill is none, so that its pixels can be told.
    """
    from train.object_detection.augment import augment

    worst, seen, left_half = 0.0, 0, 0
    for seed in range(600):
        rng = np.random.default_rng(seed)
        height, width = rng.integers(120, 500, 2)
        x0, y0 = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
        x1, y1 = x0 + int(rng.integers(30, width // 2)), y0 + int(rng.integers(30, height // 2))
        photo = np.zeros((height, width, 3), np.uint8)
        photo[y0:y1, x0:x1] = 255
        box = np.array([[2, x0 / width, y0 / height, x1 / width, y1 / height]], np.float32)
        made, boxes = augment(photo, box, 300, rng)
        assert (made.shape, made.dtype) == ((300, 300, 3), np.uint8)
        assert boxes.shape == (1, 5), "the window keeps the only box"
        assert boxes[0, 0] == 2, "a class is no coordinate"
        grey = np.ptp(made, axis=2) < 5  # rounding parts the channels a little, the fill by 20
        light = grey & (made[..., 0] > (int(made[grey].max()) + int(made[grey].min())) / 2)
        rows, columns = np.flatnonzero(light.any(axis=1)), np.flatnonzero(light.any(axis=0))
        if made[grey].max() - int(made[grey].min()) < 60:
            continue  # nothing dark is left in the window
        pixels = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        worst = max(worst, float(np.abs(pixels - boxes[0, 1:] * 300).max()))
        seen += 1
        left_half += int(boxes[0, 1] + boxes[0, 3] < 1)
    return {"worst": worst, "seen": seen, "left": left_half}


def augmented_boxes_are_sound() -> str:
    """Drawn photos, sizes and boxes: boxes lie in [0, 1], areas are positive, the same seed gives the same."""
    from train.object_detection.augment import augment

    for seed in range(800):
        rng = np.random.default_rng(seed)
        height, width, side = (int(value) for value in rng.integers(1, 400, 3))
        photo = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        boxes = _boxes(rng, int(rng.integers(0, 6)))
        made, kept = augment(photo, boxes, side, np.random.default_rng(seed))
        assert (made.shape, made.dtype, kept.dtype) == ((side, side, 3), np.uint8, np.float32), seed
        assert ((kept[:, 1:] >= 0) & (kept[:, 1:] <= 1)).all(), seed
        assert (kept[:, 3:] > kept[:, 1:3]).all(), seed
        assert set(kept[:, 0]) <= set(boxes[:, 0]), seed
        again = augment(photo, boxes, side, np.random.default_rng(seed))
        assert np.array_equal(made, again[0]), seed
        assert np.array_equal(kept, again[1]), seed
    return "sound"


def colours() -> dict[str, list[float]]:
    """Least and most of what the four changes of colour do to flat photos, over many draws; and the fill's colour."""
    from train.object_detection.augment import _colour, augment

    matrices = [_colour(np.random.default_rng(seed)) for seed in range(4000)]
    grey = np.array([matrix[:, :3] @ [100.0, 100.0, 100.0] for matrix in matrices])
    assert np.ptp(grey, axis=1).max() < 0.5, "grey has no hue and no saturation"
    contrast, brightness = grey[:, 0] / 100, np.array([m[0, 3] for m in matrices]) / (grey[:, 0] / 100)
    tint = np.array([m[:, :3] @ [1.0, 0.2, 0.2] for m in matrices]) / contrast[:, None]
    yiq = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
    before, after = yiq @ [1.0, 0.2, 0.2], tint @ yiq.T
    hue = np.degrees(np.arctan2(after[:, 2], after[:, 1]) - np.arctan2(before[2], before[1]))
    saturation = np.hypot(after[:, 1], after[:, 2]) / np.hypot(before[1], before[2])
    found = {"contrast": contrast, "brightness": brightness, "hue": hue, "saturation": saturation}
    spans = {name: [float(v.min()), float(v.max())] for name, v in found.items()}
    unchanged = {"contrast": 1, "brightness": 0, "hue": 0, "saturation": 1}
    shares = {f"{name} share": [float(np.mean(np.abs(found[name] - at) > 1e-6))] for name, at in unchanged.items()}
    none = np.zeros((0, 5), np.float32)
    made = [augment(np.zeros((50, 50, 3), np.uint8), none, 300, np.random.default_rng(seed))[0] for seed in range(40)]
    fills = {tuple(int(v) for v in pixel) for one in made for pixel in one[0] if np.ptp(pixel.astype(int)) > 0}
    return {**spans, **shares, "fill": sorted(fills)}


def normalised_differences() -> list[float]:
    """Largest difference of a normalised crop from the server's tensor of its pixels: RGB and grey, any strides."""
    from serve import preprocess
    from serve.artifact import InputSpec
    from train.pixels import GREY_MEAN, GREY_STD, MEAN, STD, Normalise

    found = []
    for channels, mean, std in ((3, MEAN, STD), (1, GREY_MEAN, GREY_STD)):
        spec = InputSpec("data", channels, 40, 50, 50, "stretch", mean, std)
        crop = np.random.default_rng(0).integers(0, 256, (60, 70, channels)).astype(np.uint8)[5:45, 10:60]
        for view in (crop, crop[:, ::-1]):
            batch = np.full((2, channels, 40, 50), np.nan, np.float32)
            Normalise(spec)(view, batch[1])
            pixels = np.ascontiguousarray(view).reshape(40, 50, channels)
            image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
            found.append(float(np.abs(batch[1] - preprocess.to_tensor(image, spec)).max()))
            assert np.isnan(batch[0]).all(), "another photo's row"
    return found


# ---- channels ---------------------------------------------------------------------------------------------------


def _jpeg(image: Image.Image, orientation: int = 1) -> bytes:
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(data, "JPEG", quality=95, exif=exif)
    return data.getvalue()


def _scene(rng: np.random.Generator, width: int = 160, height: int = 120) -> tuple[Image.Image, dict[str, Any]]:
    """A photo with one light rectangle, and the annotation of it."""
    wide, high = int(rng.integers(40, 80)), int(rng.integers(40, 60))
    left, top = int(rng.integers(0, width - wide)), int(rng.integers(0, height - high))
    image = Image.fromarray(rng.integers(0, 60, (height, width, 3)).astype(np.uint8))
    image.paste("white", (left, top, left + wide, top + high))
    row = {"class_id": int(rng.integers(2)), "left": left, "top": top, "width": wide, "height": high}
    return image, {"image_size": [{"width": width, "height": height, "depth": 3}], "annotations": [row]}


def write_channels(base: Path, train: int = 8, validation: int = 4) -> Path:
    """Image channels of drawn scenes with annotations and categories under `base`/input/data; returns `base`."""
    rng = np.random.default_rng(0)
    for channel, count in zip(_CHANNELS, (train, validation), strict=True):
        for index in range(count):
            image, annotation = _scene(rng)
            annotation["categories"] = [{"class_id": 0, "name": "cat"}, {"class_id": 1, "name": "dog"}]
            put(base, channel, f"{index}.jpg", _jpeg(image), annotation)
    return base


def put(base: Path, channel: str, name: str, data: bytes | None, annotation: dict[str, Any] | None) -> None:
    """Write an image and its annotation file; None for either leaves it out."""
    stem = name.rpartition(".")[0]
    for folder, file, content in (
        (channel, name, data),
        (f"{channel}_annotation", f"{stem}.json", json.dumps(annotation).encode() if annotation is not None else None),
    ):
        path = base / "input" / "data" / folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)


def _write_records(base: Path, source: Path) -> Path:
    """The image channels under `source` as RecordIO channels under `base`."""
    from train import recordio

    for channel in _CHANNELS:
        folder = base / "input" / "data" / channel
        folder.mkdir(parents=True)
        with recordio.Writer(folder / f"{channel}.rec") as writer:
            for number, path in enumerate(sorted((source / "input" / "data" / channel).glob("*.jpg"))):
                note = source / "input" / "data" / f"{channel}_annotation" / f"{path.stem}.json"
                document = json.loads(note.read_text())
                size, label = document["image_size"][0], [2.0, 5.0]
                for row in document["annotations"]:
                    x, y = row["left"] / size["width"], row["top"] / size["height"]
                    wide, high = row["width"] / size["width"], row["height"] / size["height"]
                    label += [row["class_id"], x, y, x + wide, y + high]
                writer.write(recordio.pack_image(label, number, path.read_bytes()))
    (base / "input" / "data" / "train" / "classes.txt").write_text("Cat\nDog\n")
    return base


def hyperparameters(**changes: Any) -> dict[str, Any]:
    """Checked hyperparameters of small jobs."""
    from train.object_detection import table

    values = {"num_classes": 2, "num_training_samples": 8, "mini_batch_size": 4, "image_shape": 96, **changes}
    return table.check({name: str(value) for name, value in values.items()})


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
    from train.object_detection import data

    return data.load(channels.load(base / "input"), hyperparameters(**changes))


def _message(base: Path, **changes: Any) -> str:
    from train.errors import UserError

    try:
        _load(base, **changes)
    except UserError as error:
        return str(error)
    return "nothing was refused"


def both_forms(folder: str) -> dict[str, Any]:
    """What the same photos give as images with annotation files and as RecordIO."""
    image = _load(write_channels(Path(folder, "image")))
    record = _load(_write_records(Path(folder, "record"), Path(folder, "image")))
    differences = [
        float(np.abs(a.label - b.label).max())
        for channel in _CHANNELS
        for a, b in zip(getattr(image, channel), getattr(record, channel), strict=True)
    ]
    pixels = [np.array_equal(image.photos[i], record.photos[i]) for i in range(len(image.train))]
    return {
        "labels": max(differences),
        "pixels": all(pixels),
        "names": [image.class_names, record.class_names],
        "counts": [[len(loaded.train), len(loaded.validation)] for loaded in (image, record)],
    }


def validation_as_served(folder: str) -> dict[str, Any]:
    """A validation tensor beside the server's own of the same bytes, and where its light pixels and its box are."""
    from serve import preprocess

    loaded = _load(write_channels(Path(folder)))
    same = all(
        np.array_equal(loaded.validation_tensor(i), preprocess.load(sample.read(), loaded.spec))
        for i, sample in enumerate(loaded.validation)
    )
    light = loaded.validation_tensor(0).min(axis=0) > 1
    columns = np.flatnonzero(light.any(axis=0))
    box = loaded.validation[0].label[0]
    return {
        "same": same,
        "spec": [loaded.spec.rule, loaded.spec.height, loaded.spec.width, loaded.spec.channels],
        "columns": [float(columns[0]), float(columns[-1] + 1)],
        "box": [float(box[1]) * 96, float(box[3]) * 96],
    }


def batches(folder: str) -> dict[str, Any]:
    """Shapes of a batch, and whether an epoch is the same with the same seed and another in the next epoch."""
    loaded = _load(write_channels(Path(folder)))
    priors, hp = anchors((6, 3, 1)), hyperparameters()

    def first(number: int) -> tuple[np.ndarray, ...]:
        return next(iter(loaded.train_batches(hp, priors).epoch(number)))

    one, again, other = first(0), first(0), first(1)
    return {
        "shapes": [list(part.shape) for part in one],
        "types": [str(part.dtype) for part in one],
        "count": len(loaded.train_batches(hp, priors)),
        "same": all(np.array_equal(a, b) for a, b in zip(one, again, strict=True)),
        "other": bool(np.array_equal(one[0], other[0])),
        "matched": [int(count) for count in (one[1] > 0).sum(axis=1)],
        "classes": sorted({float(value) for value in np.unique(one[1])}),
        "finite": all(bool(np.isfinite(part).all()) for part in one),
    }


def _light(photo: np.ndarray) -> list[float]:
    """Where the light rectangle of a photo is: xmin, ymin, xmax, ymax in fractions."""
    light = photo.min(axis=2) > 128
    rows, columns = np.flatnonzero(light.any(axis=1)), np.flatnonzero(light.any(axis=0))
    height, width = light.shape
    return [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]


def dirt(folder: str) -> dict[str, Any]:
    """One channel with every kind of dirt: what was kept, what was logged, and where turned boxes ended up."""
    base, rng = write_channels(Path(folder)), np.random.default_rng(9)
    image, note = _scene(rng)
    row, size = note["annotations"][0], note["image_size"]
    put(base, "train", "a_turned.jpg", _jpeg(image, 6), note)
    put(base, "train", "b_grey.jpg", _jpeg(image.convert("L")), note)
    put(base, "train", "c_empty.jpg", _jpeg(image), {"annotations": []})
    put(base, "train", "d_other_size.jpg", _jpeg(image), {**note, "image_size": [{"width": 320, "height": 240}]})
    bad = [{**row, "width": 0}, {**row, "left": -5}, {**row, "left": 500}, {**row, "top": float("nan")}, row]
    put(base, "train", "e_boxes.jpg", _jpeg(image), {"annotations": bad, "image_size": size})
    put(base, "train", "f_truncated.jpg", _jpeg(image)[:300], note)
    put(base, "train", "g_alone.jpg", _jpeg(image), None)
    put(base, "train", "h_gone.jpg", None, note)
    transparent, (other, other_note) = io.BytesIO(), _scene(rng)
    other.convert("RGBA").save(transparent, "PNG")
    put(base, "train", "i_clear.png", transparent.getvalue(), {"annotations": other_note["annotations"]})
    with _log() as lines:
        loaded = _load(base, unreadable_tolerance=0.2, num_classes=3)
    labels = {sample.name: sample.label.tolist() for sample in loaded.train}
    misplaced = [
        float(np.abs(sample.label[-1, 1:] - _light(loaded.photos[index])).max())
        for index, sample in enumerate(loaded.train)
        if len(sample.label)
    ]
    return {
        "names": sorted(labels),
        "lines": lines,
        "counts": {name: len(label) for name, label in labels.items()},
        "misplaced": max(misplaced),
        "shapes": sorted({photo.shape for photo in (loaded.photos[i] for i in range(len(loaded.train)))}),
        "class names": loaded.class_names,
    }


def large_photos(folder: str) -> list[list[int]]:
    """Shapes that photos of 1600 x 1200 are kept at for an input of 96, JPEG and PNG."""
    base, rng = write_channels(Path(folder)), np.random.default_rng(1)
    image, note = _scene(rng, 1600, 1200)
    put(base, "train", "large.jpg", _jpeg(image), note)
    data = io.BytesIO()
    image.save(data, "PNG")
    put(base, "train", "other.png", data.getvalue(), note)
    loaded = _load(base)
    return [list(loaded.photos[index].shape) for index in (-2 + len(loaded.train), -1 + len(loaded.train))]


def refusals(folder: str) -> dict[str, str]:
    """What channels that cannot be trained on are refused with."""
    said = {}
    base = write_channels(Path(folder, "count"))
    said["fewer than a batch"] = _message(base, mini_batch_size=9)
    base = write_channels(Path(folder, "class"))
    said["class"] = _message(base, num_classes=1)
    base = write_channels(Path(folder, "sizes"))
    for path in (base / "input/data/train_annotation").glob("*.json"):
        path.write_text(path.read_text().replace("160", "161"))
    said["image sizes"] = _message(base)
    base = write_channels(Path(folder, "boxes"))
    for path in (base / "input/data/validation_annotation").glob("*.json"):
        path.write_text('{"annotations": []}')
    said["no box"] = _message(base)
    base = write_channels(Path(folder, "names"))
    for path in (base / "input/data").glob("*_annotation/*.json"):
        path.write_text(path.read_text().replace("categories", "other"))
    (base / "input/data/train_annotation/classes.txt").write_text("a\nb\nc\n")
    said["names"] = _message(base)
    base = write_channels(Path(folder, "notes"))
    for path in (base / "input/data/train_annotation").glob("*.json"):
        path.unlink()
    (base / "input/data/train_annotation").rmdir()
    said["no annotations"] = _message(base)
    return said


# ---- real photos ------------------------------------------------------------------------------------------------


def real_photos(pets: str, folder: str) -> dict[str, Any]:
    """One epoch over the real photos with head boxes: how many, and the least that is matched in a photo."""
    base = Path(folder)
    notes = sorted(path for path in Path(pets, "annotations", "xmls").glob("*.xml") if not path.name.startswith("."))
    for number, path in enumerate(notes):
        root = ET.parse(path).getroot()
        photo, size = Path(pets, "images", f"{path.stem}.jpg"), root.find("size")
        rows = []
        for found in root.iter("object"):
            left, top, right, bottom = (int(found.find(f"bndbox/{k}").text) for k in ("xmin", "ymin", "xmax", "ymax"))
            row = {"left": left - 1, "top": top - 1, "width": right - left + 1, "height": bottom - top + 1}
            rows.append({"class_id": ("cat", "dog").index(found.find("name").text), **row})
        sides = {key: int(size.find(key).text) for key in ("width", "height")}
        document = {"file": photo.name, "image_size": [sides], "annotations": rows}
        put(base, _CHANNELS[number % 5 == 0], photo.name, photo.read_bytes() if photo.exists() else None, document)
    with _log() as lines:
        loaded = _load(base, image_shape=300, mini_batch_size=16)
    least = [
        float((part[1] > 0).sum(axis=1).min()) for part in loaded.train_batches(hyperparameters(), anchors()).epoch(0)
    ]
    return {
        "given": len(notes),
        "read": len(loaded.train) + len(loaded.validation),
        "least": min(least),
        "lines": lines,
    }
