"""The channels of each algorithm, listed: labels of photos, boxes, masks."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from local.datasets.dataset import CLASSIFICATION, DETECTION, TRAIN, VALIDATION
from local.errors import UserError
from local.inspection.listing import MANY, PARTS, Item, Known, LeftOut, Listing, form_of, require
from serve.preprocess import Frame, UnreadableImage
from train import fields
from train.classification import folders, labelled
from train.data import lst
from train.data.channels import CLASSES, Channel, class_names, is_recordio
from train.data.samples import DataIssues, Sample
from train.errors import UserError as TrainUserError
from train.image_classification_tensorflow.hyperparameters import Hyperparameters as FolderHyperparameters
from train.object_detection import annotations
from train.object_detection.hyperparameters import LABEL_HEADER, LABEL_OBJECT, Hyperparameters
from train.semantic_segmentation import files, masks

_FOLDERS = "image-classification-tensorflow"


def listed(name: str, task: str, channels: dict[str, Channel]) -> Listing:
    """List the channels of the algorithm `name`, which is for `task`. Raises UserError when one is missing."""
    if task == DETECTION:
        return _detection(channels)
    if task != CLASSIFICATION:
        return _segmentation(channels)
    return _folders(channels) if name == _FOLDERS and not labelled.has_labels(channels) else _labelled(name, channels)


# ---- classification ---------------------------------------------------------------------------------------------


def _labelled(name: str, channels: dict[str, Channel]) -> Listing:
    """Photos with .lst files, or RecordIO; of several labels for image-classification alone."""
    require(channels, "lst", "a photo's label is in a .lst file, in 'train_lst' and 'validation_lst'")
    found = Listing(form_of(channels, "lst"))
    given: dict[str, list[Sample[NDArray[np.float32]]]] = {}
    for part in PARTS:
        with found.reading(part):
            given[part] = labelled.list_samples(channels, part, MANY, 1, _as_given, found.refuse(part))
    if name != _FOLDERS:
        found.columns = _columns([sample.label for samples in given.values() for sample in samples])
    for part, samples in given.items():
        in_records = is_recordio(channels, part, f"{part}_lst")
        for sample in samples:
            called = f"{part}/{sample.name}"
            try:
                labels = _labels(sample.label, called if in_records else f"{part}_lst, {sample.name}", found.columns)
            except TrainUserError as error:
                found.refuse(part)(error)
                continue
            found.items.append(Item(part, called, sample, _always(Known(labels))))
    with found.reading(CLASSES):
        found.named = class_names(channels, ("train_lst", "train"), None)
    single = [sample.labelled(int(sample.label[0])) for sample in given.get(TRAIN, ()) if len(sample.label) == 1]
    found.name = lambda classes: labelled.find_class_names(channels, single, classes)
    return found


def _as_given(values: NDArray[np.float32], where: str, classes: int) -> NDArray[np.float32]:
    """The label of a line or record before anything is known of the others."""
    return values


def _columns(rows: Sequence[NDArray[np.float32]]) -> int:
    """How many numbers of 0 and 1 most photos have; 0 where it is not several."""
    counts = Counter(len(row) for row in rows if len(row) > 1 and np.isin(row, (0, 1)).all())
    return counts.most_common(1)[0][0] if counts.total() > len(rows) / 2 else 0


def _labels(values: NDArray[np.float32], where: str, columns: int) -> tuple[int, ...]:
    """The labels of a photo, of which a multi-label one has a 0 or 1 for each of so many classes."""
    if columns:
        return tuple(np.flatnonzero(lst.multi_hot(values, where, columns)).tolist())
    return (lst.class_id(values, where, MANY),)


def _folders(channels: dict[str, Channel]) -> Listing:
    """Photos in class folders."""
    found = Listing("class folders")
    try:
        folders.main_channel(channels)
    except TrainUserError as error:
        raise UserError(str(error)) from None
    defaults = fields.defaults(FolderHyperparameters)
    with found.reading(TRAIN):
        split = defaults["validation_split"], defaults["seed"]
        read = folders.list_samples(channels, None, *split, found.refuse(TRAIN))
        found.named, found.split_off = read.class_names, None if read.validation_name else split[0]
        for part, samples in ((TRAIN, read.train), (VALIDATION, read.validation)):
            found.items += [Item(part, one.name, one, _always(Known((one.label,)))) for one in samples]
    return found


def _always(known: Known) -> Callable[[Frame], Known]:
    return lambda frame: known


# ---- detection --------------------------------------------------------------------------------------------------

MISFITS = "photos whose size differs from their annotation's image_size, left out"


def _detection(channels: dict[str, Channel]) -> Listing:
    """Photos with boxes, in JSON files or RecordIO."""
    require(channels, "annotation", "boxes are in a .json file for each photo, in 'train_annotation' and so on")
    found, given = Listing(form_of(channels, "annotation")), []
    any_class = Hyperparameters(
        num_classes=MANY, num_training_samples=1, label_width=LABEL_HEADER + LABEL_OBJECT * MANY
    )
    for part in PARTS:
        remarks = DataIssues()
        with found.reading(part):
            if is_recordio(channels, part, f"{part}_annotation"):
                path = channels[part].only_file(".rec")
                read = annotations.list_records(path, any_class, found.refuse(part))
            else:
                images, notes = channels[part], channels[f"{part}_annotation"]
                read = annotations.list_files(images, notes, any_class, remarks, found.refuse(part))
            for sample in read.samples:
                annotation = read.annotations[sample.name]
                name = f"{part}/{sample.name}"
                found.items.append(Item(part, name, sample, partial(_boxes, annotation, name)))
                given.append(annotation)
        with found.reading(part):
            remarks.log()
    with found.reading(CLASSES):
        found.named = class_names(channels, ("train_annotation", TRAIN), None)
    categories = annotations.categories(given)
    last = max((label for label, _ in categories), default=0)
    by_categories = annotations.class_names(categories, last + 1) if last < MANY else None
    if categories and by_categories is None:
        found.remarks.append(
            "the annotations' categories are not used as names: they do not give each class from 0 on one name"
        )
    found.named = by_categories or found.named
    found.name = lambda classes: annotations.class_names(categories, classes) or found.named
    return found


def _boxes(annotation: annotations.Annotation, name: str, frame: Frame) -> Known:
    placed = annotations.place(annotation, frame)
    if placed is None:
        given = " x ".join(f"{side:g}" for side in annotation.size or ())
        raise LeftOut(MISFITS, f"{name} ({frame.width} x {frame.height}, not {given})")
    remarks = DataIssues()
    boxes = annotations.repair(placed, name, remarks)
    notes = tuple((kind, one) for kind, names in remarks.names.items() for one in names)
    return Known(tuple(sorted(set(boxes[:, 0].astype(int).tolist()))), boxes, len(placed), notes=notes)


# ---- segmentation -----------------------------------------------------------------------------------------------

BAD_MASKS = "masks that cannot be read, left out with their photos"
OTHER_SIZE = "masks whose size differs from their photo, left out with it"
COLOURS = "masks that are colour pictures with R = G = B, read as class ids"


def _segmentation(channels: dict[str, Channel]) -> Listing:
    """Photos with masks."""
    require(channels, "annotation", "a PNG mask for each photo is in 'train_annotation' and 'validation_annotation'")
    found = Listing("image")
    for part in PARTS:
        with found.reading(part):
            label_map = masks.find_map(channels.get("label_map"), part, masks.IGNORE)
            found.label_maps[part] = label_map
            photos, notes = files.list_pairs(channels, part)
            for photo, note in zip(photos, notes, strict=True):
                names = f"{part}/{photo.name}", f"{part}_annotation/{note.name}"
                read = partial(_mask, note, *names)
                know = partial(_pixels, read, label_map, names[1])
                found.items.append(Item(part, names[0], photo, know, partial(_ids, read, label_map), note.name))
    with found.reading(CLASSES):
        found.named = class_names(channels, ("train_annotation", "label_map", "train"), None)
    found.name = lambda classes: found.named
    return found


def _mask(note: Sample[None], photo: str, name: str, frame: Frame) -> masks.DecodedMask:
    """The mask as its file has it, on the upright photo."""
    try:
        stored = masks.decode(note.read())
    except UnreadableImage as error:
        raise LeftOut(BAD_MASKS, f"{name} {error}") from None
    placed = masks.place(stored.pixels, frame)
    if placed is None:
        height, width = stored.pixels.shape
        raise LeftOut(OTHER_SIZE, f"{name} ({width} x {height}, {photo} {frame.width} x {frame.height})")
    return masks.DecodedMask(placed, stored.repaired)


def _pixels(read: Callable[[Frame], masks.DecodedMask], label_map: masks.LabelMap, name: str, frame: Frame) -> Known:
    stored = read(frame)
    values = masks.histogram(stored.pixels)
    labels = np.unique(label_map.table[(values > 0) & label_map.known])
    notes = ((COLOURS, name),) if stored.repaired else ()
    return Known(tuple(labels[labels != masks.IGNORE].tolist()), values=values, notes=notes)


def _ids(read: Callable[[Frame], masks.DecodedMask], label_map: masks.LabelMap, frame: Frame) -> NDArray[np.uint8]:
    return label_map.apply(read(frame).pixels)
