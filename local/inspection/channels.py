"""Lists the channels of each algorithm: photos with labels, boxes or masks."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from local.datasets.dataset import CLASSIFICATION, DETECTION, TRAIN, VALIDATION
from local.errors import UserError
from local.inspection.listing import MAX_CLASSES, PARTS, Annotation, Item, Listing, SkippedPhoto, form_of, require
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


def list_channels(name: str, task: str, channels: dict[str, Channel]) -> Listing:
    """List the channels of the algorithm `name`, which is for `task`. Raises UserError if one is missing."""
    if task == DETECTION:
        return _detection(channels)
    if task != CLASSIFICATION:
        return _segmentation(channels)
    return _folders(channels) if name == _FOLDERS and not labelled.has_labels(channels) else _labelled(name, channels)


# ---- classification ---------------------------------------------------------------------------------------------


def _labelled(name: str, channels: dict[str, Channel]) -> Listing:
    """List photos with .lst files or in RecordIO files. Only image-classification can be multi-label."""
    require(channels, "lst", "a photo's label is in a .lst file, in 'train_lst' and 'validation_lst'")
    listing = Listing(form_of(channels, "lst"))
    samples_by_part: dict[str, list[Sample[NDArray[np.float32]]]] = {}
    for part in PARTS:
        with listing.reading(part):
            samples_by_part[part] = labelled.list_samples(
                channels, part, MAX_CLASSES, 1, _raw_label, listing.error_handler(part)
            )
    if name != _FOLDERS:
        listing.label_columns = _label_columns(
            [sample.label for samples in samples_by_part.values() for sample in samples]
        )
    for part, samples in samples_by_part.items():
        in_records = is_recordio(channels, part, f"{part}_lst")
        for sample in samples:
            photo = f"{part}/{sample.name}"
            place = photo if in_records else f"{part}_lst, {sample.name}"
            try:
                labels = _labels(sample.label, place, listing.label_columns)
            except TrainUserError as error:
                listing.error_handler(part)(error)
                continue
            listing.items.append(Item(part, photo, sample, _constant(Annotation(labels))))
    with listing.reading(CLASSES):
        listing.class_names = class_names(channels, ("train_lst", "train"), None)
    train = samples_by_part.get(TRAIN, ())
    single_label = [sample.labelled(int(sample.label[0])) for sample in train if len(sample.label) == 1]
    listing.names_for = lambda classes: labelled.find_class_names(channels, single_label, classes)
    return listing


def _raw_label(values: NDArray[np.float32], where: str, classes: int) -> NDArray[np.float32]:
    """Return the label values unchanged, because it is not yet known whether the data set is multi-label."""
    return values


def _label_columns(rows: Sequence[NDArray[np.float32]]) -> int:
    """Return the number of 0s and 1s that most photos have; 0 if most have a single label."""
    counts = Counter(len(row) for row in rows if len(row) > 1 and np.isin(row, (0, 1)).all())
    return counts.most_common(1)[0][0] if counts.total() > len(rows) / 2 else 0


def _labels(values: NDArray[np.float32], where: str, label_columns: int) -> tuple[int, ...]:
    """Return a photo's label, or its labels if the data set is multi-label."""
    if label_columns:
        return tuple(np.flatnonzero(lst.multi_hot(values, where, label_columns)).tolist())
    return (lst.class_id(values, where, MAX_CLASSES),)


def _folders(channels: dict[str, Channel]) -> Listing:
    """List photos in class folders."""
    listing = Listing("class folders")
    try:
        folders.main_channel(channels)
    except TrainUserError as error:
        raise UserError(str(error)) from None
    defaults = fields.defaults(FolderHyperparameters)
    with listing.reading(TRAIN):
        split = defaults["validation_split"], defaults["seed"]
        read = folders.list_samples(channels, None, *split, listing.error_handler(TRAIN))
        listing.class_names, listing.validation_split = read.class_names, None if read.validation_name else split[0]
        for part, samples in ((TRAIN, read.train), (VALIDATION, read.validation)):
            listing.items += [
                Item(part, sample.name, sample, _constant(Annotation((sample.label,)))) for sample in samples
            ]
    return listing


def _constant(annotation: Annotation) -> Callable[[Frame], Annotation]:
    return lambda frame: annotation


# ---- detection --------------------------------------------------------------------------------------------------

WRONG_SIZE = "photos whose size differs from their annotation's image_size, left out"


def _detection(channels: dict[str, Channel]) -> Listing:
    """List photos with boxes in JSON files or RecordIO files."""
    require(channels, "annotation", "boxes are in a .json file for each photo, in 'train_annotation' and so on")
    listing = Listing(form_of(channels, "annotation"))
    all_annotations = []
    any_class = Hyperparameters(
        num_classes=MAX_CLASSES, num_training_samples=1, label_width=LABEL_HEADER + LABEL_OBJECT * MAX_CLASSES
    )
    for part in PARTS:
        issues = DataIssues()
        with listing.reading(part):
            if is_recordio(channels, part, f"{part}_annotation"):
                path = channels[part].only_file(".rec")
                read = annotations.list_records(path, any_class, listing.error_handler(part))
            else:
                images, json_files = channels[part], channels[f"{part}_annotation"]
                read = annotations.list_files(images, json_files, any_class, issues, listing.error_handler(part))
            for sample in read.samples:
                annotation = read.annotations[sample.name]
                name = f"{part}/{sample.name}"
                listing.items.append(Item(part, name, sample, partial(_read_boxes, annotation, name)))
                all_annotations.append(annotation)
        with listing.reading(part):
            issues.log()
    with listing.reading(CLASSES):
        listing.class_names = class_names(channels, ("train_annotation", TRAIN), None)
    categories = annotations.categories(all_annotations)
    last = max((label for label, _ in categories), default=0)
    category_names = annotations.class_names(categories, last + 1) if last < MAX_CLASSES else None
    if categories and category_names is None:
        listing.remarks.append(
            "the annotations' categories are not used as class names, because they do not give each class from 0 on "
            "exactly one name"
        )
    listing.class_names = category_names or listing.class_names
    listing.names_for = lambda classes: annotations.class_names(categories, classes) or listing.class_names
    return listing


def _read_boxes(annotation: annotations.Annotation, name: str, frame: Frame) -> Annotation:
    placed = annotations.place(annotation, frame)
    if placed is None:
        expected = " x ".join(f"{side:g}" for side in annotation.size or ())
        raise SkippedPhoto(WRONG_SIZE, f"{name} ({frame.width} x {frame.height}, not {expected})")
    issues = DataIssues()
    boxes = annotations.repair(placed, name, issues)
    repairs = tuple((kind, box) for kind, names in issues.names.items() for box in names)
    return Annotation(tuple(sorted(set(boxes[:, 0].astype(int).tolist()))), boxes, len(placed), repairs=repairs)


# ---- segmentation -----------------------------------------------------------------------------------------------

UNREADABLE_MASKS = "masks that cannot be read, left out with their photos"
WRONG_MASK_SIZE = "masks whose size differs from their photo's, left out with it"
COLOUR_MASKS = "masks that are colour pictures with R = G = B, read as class ids"


def _segmentation(channels: dict[str, Channel]) -> Listing:
    """List photos with masks."""
    require(channels, "annotation", "a PNG mask for each photo is in 'train_annotation' and 'validation_annotation'")
    listing = Listing("image")
    for part in PARTS:
        with listing.reading(part):
            label_map = masks.find_map(channels.get("label_map"), part, masks.IGNORE)
            listing.label_maps[part] = label_map
            photos, mask_files = files.list_pairs(channels, part)
            for photo, mask in zip(photos, mask_files, strict=True):
                photo_name, mask_name = f"{part}/{photo.name}", f"{part}_annotation/{mask.name}"
                read = partial(_read_mask, mask, photo_name, mask_name)
                read_annotation = partial(_read_histogram, read, label_map, mask_name)
                read_ids = partial(_read_class_ids, read, label_map)
                listing.items.append(Item(part, photo_name, photo, read_annotation, read_ids, mask.name))
    with listing.reading(CLASSES):
        listing.class_names = class_names(channels, ("train_annotation", "label_map", "train"), None)
    listing.names_for = lambda classes: listing.class_names
    return listing


def _read_mask(mask: Sample[None], photo_name: str, name: str, frame: Frame) -> masks.DecodedMask:
    """Return the pixel values of a mask file, on the upright photo."""
    try:
        stored = masks.decode(mask.read())
    except UnreadableImage as error:
        raise SkippedPhoto(UNREADABLE_MASKS, f"{name} {error}") from None
    placed = masks.place(stored.pixels, frame)
    if placed is None:
        height, width = stored.pixels.shape
        text = f"{name} ({width} x {height}, {photo_name} {frame.width} x {frame.height})"
        raise SkippedPhoto(WRONG_MASK_SIZE, text)
    return masks.DecodedMask(placed, stored.repaired)


def _read_histogram(
    read: Callable[[Frame], masks.DecodedMask], label_map: masks.LabelMap, name: str, frame: Frame
) -> Annotation:
    stored = read(frame)
    histogram = masks.histogram(stored.pixels)
    labels = np.unique(label_map.table[(histogram > 0) & label_map.known])
    repairs = ((COLOUR_MASKS, name),) if stored.repaired else ()
    return Annotation(tuple(labels[labels != masks.IGNORE].tolist()), histogram=histogram, repairs=repairs)


def _read_class_ids(
    read: Callable[[Frame], masks.DecodedMask], label_map: masks.LabelMap, frame: Frame
) -> NDArray[np.uint8]:
    return label_map.apply(read(frame).pixels)
