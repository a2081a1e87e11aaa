"""Finds problems in the channels of a job. Each finding says what is wrong, its effect, and the fix."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from local import algorithms
from local.datasets.dataset import CLASSIFICATION, NO_CLASS, SEGMENTATION, TRAIN, VALIDATION
from local.inspection import box_findings, mask_findings
from local.inspection.census import UNREADABLE, Census, Photo
from local.inspection.finding import Finding, percent, shortened, with_full_stop
from local.inspection.listing import PARTS
from serve.words import plural

MAX_IMBALANCE = 10
"""The largest acceptable ratio of the most common class to the rarest."""
MIN_GREY_FRACTION = 0.2
MIN_SMALL_FRACTION = 0.5
PURPOSE = {TRAIN: "training", VALIDATION: "validation"}


def find(census: Census) -> list[Finding]:
    """Return all findings, fatal ones first."""
    checks: list[Callable[[Census], Iterator[Finding]]] = [
        reader_errors,
        skipped_photos,
        too_few_photos,
        one_class,
        numbering,
        imbalance,
        classes_without_validation,
        leakage,
        contradictory_labels,
        *box_findings.CHECKS,
        *mask_findings.CHECKS,
        small_photos,
        grey_photos,
        remarks,
    ]
    results = [finding for check in checks for finding in check(census)]
    return sorted(results, key=lambda finding: not finding.fatal)


def reader_errors(census: Census) -> Iterator[Finding]:
    """Report the errors of the training job's readers."""
    for channel, texts in census.listing.errors.items():
        lines = [text if channel in text else f"{channel}: {text}" for text in texts]
        yield Finding(True, with_full_stop(lines[0]), tuple(lines) if len(lines) > 1 else ())


def skipped_photos(census: Census) -> Iterator[Finding]:
    """Report photos that the job skips. It fails if their share of a channel exceeds unreadable_tolerance."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for photo in census.skipped:
        groups[photo.channel, photo.kind].append(photo.text)
    for (channel, kind), texts in groups.items():
        total = len(census.part(channel)) + sum(photo.channel == channel for photo in census.skipped)
        tolerance = census.settings.unreadable_tolerance
        fatal = len(texts) > tolerance * total
        problem = f"{channel}: {kind}: {len(texts)} of {total}"
        if fatal:
            problem += f", more than unreadable_tolerance={tolerance:g} allows"
        fix = "Repair or remove them" if kind == UNREADABLE else "Create them again from the current photos"
        yield Finding(fatal, f"{problem}. {fix}.", tuple(texts))
    for channel in PARTS:
        if not census.part(channel) and channel not in census.listing.errors:
            yield Finding(True, f"{channel} has no usable photo.")


def too_few_photos(census: Census) -> Iterator[Finding]:
    """Check that there are enough photos for a batch."""
    count, batch = len(census.part(TRAIN)), census.settings.mini_batch_size
    if 0 < count < batch:
        only = f"is only {count} training photo" if count == 1 else f"are only {count} training photos"
        yield Finding(
            True,
            f"There {only}, fewer than a batch needs (mini_batch_size={batch}, the default). Add photos, or set "
            f"mini_batch_size to at most {count}.",
        )


def one_class(census: Census) -> Iterator[Finding]:
    """Check that a classifier has more than one class."""
    labels = {label for channel in PARTS for label in census.photos_with(channel)}
    if census.task == CLASSIFICATION and len(labels) == 1 and not census.listing.multi_label:
        (label,) = labels
        yield Finding(
            False,
            f"All photos are of one class, {_labels(census, [label])}: there is nothing to learn, and the accuracy is "
            "1 from the start. Add photos of other classes.",
        )


def numbering(census: Census) -> Iterator[Finding]:
    """Find labels that start at 1, and classes without training photos."""
    if not census.part(TRAIN):
        return
    sample, trained = algorithms.get(census.name).sample_phrase, census.photos_with(TRAIN)
    labels = trained.keys() | census.photos_with(VALIDATION).keys()
    used = {label for label in labels if census.task != SEGMENTATION or label < census.num_mask_classes}
    missing = [label for label in range(census.num_classes) if label not in trained]
    if 0 in missing and used and min(used) == 1 and census.class_names[0] != NO_CLASS:
        missing.remove(0)
        last = max(used)
        yield Finding(
            False,
            f"Labels start at 1: they are 1 to {last}, and label 0{_name_suffix(census, 0)} does not occur. The "
            f"network gets an unused output, and num_classes must be {last + 1}. Number the classes from 0: subtract 1 "
            "from each label.",
        )
    missing = [label for label in missing if census.class_names[label] != NO_CLASS]
    if missing and (census.task != SEGMENTATION or census.num_mask_classes >= census.num_classes):
        yield Finding(
            False,
            f"Classes without a training {sample}: {len(missing)} of {census.num_classes}: {_labels(census, missing)}. "
            "The network cannot learn them. Add photos, or number the classes from 0 without gaps.",
        )


def imbalance(census: Census) -> Iterator[Finding]:
    """Check that no class has far more training photos or boxes than another."""
    amounts = census.amounts(TRAIN)
    if len(amounts) < 2 or census.task == SEGMENTATION:
        return
    (common_label, high), (rare_label, low) = amounts.most_common()[0], amounts.most_common()[-1]
    if high >= MAX_IMBALANCE * low:
        unit = "training photo" if census.task == CLASSIFICATION else "training box"
        rare = [label for label, amount in sorted(amounts.items()) if high >= MAX_IMBALANCE * amount]
        all_rare = f" (the rare classes are {_labels(census, rare)})" if len(rare) > 1 else ""
        yield Finding(
            False,
            f"Strong imbalance: class {_labels(census, [common_label])} has {plural(high, unit)}, but class "
            f"{_labels(census, [rare_label])} has {low}{all_rare}. The metrics can look good although the network "
            "hardly ever predicts the rare class. Add photos of the rare class, or remove some of the common one.",
        )


def classes_without_validation(census: Census) -> Iterator[Finding]:
    """Find classes with training photos but no validation photos."""
    validated = census.photos_with(VALIDATION)
    missing = [label for label in sorted(census.photos_with(TRAIN)) if label not in validated]
    if missing and census.part(VALIDATION):
        sample = algorithms.get(census.name).sample_phrase
        yield Finding(
            False,
            f"Classes without a validation {sample}: {len(missing)} of {census.num_classes}: "
            f"{_labels(census, missing)}. The metrics ignore these classes. Move some photos from train to validation.",
        )


def leakage(census: Census) -> Iterator[Finding]:
    """Find images with the same pixels in train and validation."""
    trained: dict[bytes, Photo] = {}
    for photo in census.part(TRAIN):
        trained.setdefault(photo.info.digest, photo)
    validation = census.part(VALIDATION)
    pairs = [(trained[photo.info.digest], photo) for photo in validation if photo.info.digest in trained]
    if pairs:
        are = "is" if len(pairs) == 1 else "are"
        yield Finding(
            False,
            f"The same images are in train and validation: {len(pairs)} of "
            f"{plural(len(validation), 'validation photo')} {are} also in train. The metrics will look better than "
            "they should. Remove them from one of the two channels.",
            tuple(f"{first.name} = {second.name}" for first, second in pairs),
        )


def contradictory_labels(census: Census) -> Iterator[Finding]:
    """Find images with the same pixels and different labels."""
    if census.task != CLASSIFICATION:
        return
    groups: dict[bytes, list[Photo]] = defaultdict(list)
    for photo in census.photos:
        groups[photo.info.digest].append(photo)
    pairs = []
    for first, *others in groups.values():
        pairs += [(first, other) for other in others if other.annotation.labels != first.annotation.labels]
    if pairs:
        details = [
            " = ".join(f"{photo.name} ({_labels(census, photo.annotation.labels)})" for photo in pair) for pair in pairs
        ]
        yield Finding(
            False,
            f"The same image has different labels: {plural(len(pairs), 'pair')} of photos. Either one label is wrong, "
            "or the photo shows both classes. Correct the labels.",
            tuple(details),
        )


def small_photos(census: Census) -> Iterator[Finding]:
    """Check whether most photos are smaller than the network's input."""
    settings, photos = census.settings, census.photos
    names = smaller(census)
    if names and len(names) >= MIN_SMALL_FRACTION * len(photos):
        are = "is" if len(names) == 1 else "are"
        yield Finding(
            False,
            f"{len(names)} of {plural(len(photos), 'photo')} {are} smaller than {settings}. Enlarging photos costs "
            f"time and adds no detail. Set {settings.shape} to the size of the photos, or use larger photos.",
            tuple(names),
        )


def smaller(census: Census) -> list[str]:
    """Return the names and sizes of photos that are smaller than the network's input."""
    settings = census.settings
    return [
        f"{photo.name} ({photo.size[0]} x {photo.size[1]})"
        for photo in census.photos
        if photo.size[0] < settings.width or photo.size[1] < settings.height
    ]


def grey_photos(census: Census) -> Iterator[Finding]:
    """Find grey photos mixed with colour ones."""
    photos = census.photos
    fractions = {part: _fraction(photo.info.grey for photo in census.part(part)) for part in PARTS}
    if not photos or max(fractions.values()) < MIN_GREY_FRACTION or min(fractions.values()) == 1:
        return
    totals = Counter(label for photo in photos for label in photo.annotation.labels)
    greys = Counter(label for photo in photos if photo.info.grey for label in photo.annotation.labels)
    mostly = [label for label in sorted(greys) if greys[label] > totals[label] / 2]
    classes = f", including most of class {_labels(census, mostly)}" if 0 < len(mostly) < len(totals) else ""
    yield Finding(
        False,
        f"{percent(fractions[TRAIN])} of the training photos and {percent(fractions[VALIDATION])} of the validation "
        f"photos are grey{classes}. The network may learn from colour instead of content. Use only the kind of photos "
        "that the endpoint will get, or the same fraction of grey photos in each class.",
        tuple(photo.name for photo in photos if photo.info.grey),
    )


def remarks(census: Census) -> Iterator[Finding]:
    """Report what the job only logs, such as skipped files and clipped boxes."""
    for line in census.listing.remarks:
        yield Finding(False, with_full_stop(line))
    kinds: dict[str, list[str]] = defaultdict(list)
    for photo in census.photos:
        for kind, name in photo.annotation.repairs:
            kinds[kind].append(name)
    for kind, names in kinds.items():
        yield Finding(False, f"{kind}: {len(names)}.", tuple(names))


def _fraction(values: Iterable[bool]) -> float:
    flags = list(values)
    return sum(flags) / len(flags) if flags else 0.0


def _name_suffix(census: Census, label: int) -> str:
    """Return ` (cat)`; "" if the class has no name."""
    return f" ({census.class_names[label]})" if census.class_names[label] != str(label) else ""


def _labels(census: Census, labels: Sequence[int]) -> str:
    """Return the first ten labels with the names of their classes: `0 (cat), 2 (dog)`."""
    return shortened([f"{label}{_name_suffix(census, label)}" for label in labels])
