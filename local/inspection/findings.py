"""What will go wrong with a training job on these channels, in sentences: what was found, what it does, what to do."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from local import algorithms
from local.datasets.dataset import CLASSIFICATION, NO_CLASS, SEGMENTATION, TRAIN, VALIDATION
from local.inspection import box_findings, mask_findings
from local.inspection.census import UNREADABLE, Census, Photo
from local.inspection.finding import Finding, ended, percent, some
from local.inspection.listing import PARTS
from serve.words import plural

IMBALANCE = 10
"""How many times as much as the rarest class the commonest may have."""
GREY = 0.2
SMALL = 0.5
TO = {TRAIN: "to train on", VALIDATION: "to validate on"}


def find(census: Census) -> list[Finding]:
    """All findings, what ends the job first."""
    checks: list[Callable[[Census], Iterator[Finding]]] = [
        *(refused, lost, too_few, one_class, numbering, imbalance, unvalidated, leaked, contradicting),
        *box_findings.CHECKS,
        *mask_findings.CHECKS,
        *(small, grey, remarks),
    ]
    found = [finding for check in checks for finding in check(census)]
    return sorted(found, key=lambda finding: not finding.ends)


def refused(census: Census) -> Iterator[Finding]:
    """What training's readers refuse, in their own words."""
    for channel, texts in census.listing.refused.items():
        lines = [text if channel in text else f"{channel}: {text}" for text in texts]
        yield Finding(True, ended(lines[0]), tuple(lines) if len(lines) > 1 else ())


def lost(census: Census) -> Iterator[Finding]:
    """Photos that a job leaves out, by the reason; more than unreadable_tolerance of a channel end it."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in census.lost:
        groups[one.channel, one.kind].append(one.text)
    for (channel, kind), texts in groups.items():
        total = len(census.part(channel)) + sum(one.channel == channel for one in census.lost)
        tolerance = census.settings.unreadable_tolerance
        ends = len(texts) > tolerance * total
        what = f"{channel}: {kind}: {len(texts)} of {total}"
        if ends:
            what += f", more than unreadable_tolerance={tolerance:g} allows"
        fix = "Repair or remove them" if kind == UNREADABLE else "Make them again from the photos that are there"
        yield Finding(ends, f"{what}. {fix}.", tuple(texts))
    for channel in PARTS:
        if not census.part(channel) and channel not in census.listing.refused:
            yield Finding(True, f"{channel} has no photo that can be used.")


def too_few(census: Census) -> Iterator[Finding]:
    """Fewer photos than a batch has."""
    count, batch = len(census.part(TRAIN)), census.settings.mini_batch_size
    if 0 < count < batch:
        yield Finding(
            True,
            f"There are {plural(count, 'photo')} to train on, fewer than a batch has (mini_batch_size={batch} is the "
            f"default). Set mini_batch_size to {count} or less, or better, add photos.",
        )


def one_class(census: Census) -> Iterator[Finding]:
    """A classifier with nothing to tell apart."""
    labels = {label for channel in PARTS for label in census.photos_with(channel)}
    if census.task == CLASSIFICATION and len(labels) == 1 and not census.listing.multi_label:
        (label,) = labels
        yield Finding(
            False,
            f"All photos are of one class, {_labels(census, [label])}: there is nothing to tell apart, and the "
            "accuracy is 1 from the start. Add photos of other classes.",
        )


def numbering(census: Census) -> Iterator[Finding]:
    """Labels that start at 1, and classes without anything to train on."""
    if not census.part(TRAIN):
        return
    usable, trained = algorithms.get(census.name).usable, census.photos_with(TRAIN)
    everywhere = trained.keys() | census.photos_with(VALIDATION).keys()
    used = {label for label in everywhere if census.task != SEGMENTATION or label < census.mask_classes}
    absent = [label for label in range(census.classes) if label not in trained]
    if 0 in absent and used and min(used) == 1 and census.names[0] != NO_CLASS:
        absent.remove(0)
        last = max(used)
        yield Finding(
            False,
            f"Labels start at 1: they are 1 to {last}, and label 0{_called(census, 0)} does not occur. The network "
            f"gets an output that is never right, and num_classes has to be {last + 1}. Number the classes from 0: "
            "subtract 1 from each label.",
        )
    absent = [label for label in absent if census.names[label] != NO_CLASS]
    if absent and (census.task != SEGMENTATION or census.mask_classes >= census.classes):
        yield Finding(
            False,
            f"Classes without a {usable} to train on: {len(absent)} of {census.classes}: {_labels(census, absent)}. "
            "The network cannot learn them. Add photos, or number the classes from 0 without gaps.",
        )


def imbalance(census: Census) -> Iterator[Finding]:
    """A class that has far more to train on than another."""
    amounts = census.amounts(TRAIN)
    if len(amounts) < 2 or census.task == SEGMENTATION:
        return
    (most, high), (least, low) = amounts.most_common()[0], amounts.most_common()[-1]
    if high >= IMBALANCE * low:
        what = "photo" if census.task == CLASSIFICATION else "box"
        rare = [label for label, amount in sorted(amounts.items()) if high >= IMBALANCE * amount]
        others = f" (the rare classes are {_labels(census, rare)})" if len(rare) > 1 else ""
        yield Finding(
            False,
            f"Strong imbalance: class {_labels(census, [most])} has {plural(high, what)} to train on and class "
            f"{_labels(census, [least])} has {low}{others}. A network that hardly ever answers the rare class cache "
            "good by its figures. Add photos of it, or take some of the common one out.",
        )


def unvalidated(census: Census) -> Iterator[Finding]:
    """Classes that are trained and not measured."""
    measured = census.photos_with(VALIDATION)
    missing = [label for label in sorted(census.photos_with(TRAIN)) if label not in measured]
    if missing and census.part(VALIDATION):
        usable = algorithms.get(census.name).usable
        yield Finding(
            False,
            f"Classes without a {usable} to validate on: {len(missing)} of {census.classes}: "
            f"{_labels(census, missing)}. The figures say nothing about them. Move some photos from train to "
            "validation.",
        )


def leaked(census: Census) -> Iterator[Finding]:
    """The same picture on both sides, by its pixels."""
    trained: dict[bytes, Photo] = {}
    for photo in census.part(TRAIN):
        trained.setdefault(photo.look.digest, photo)
    validation = census.part(VALIDATION)
    pairs = [(trained[photo.look.digest], photo) for photo in validation if photo.look.digest in trained]
    if pairs:
        yield Finding(
            False,
            f"The same picture is in train and validation: {len(pairs)} of {plural(len(validation), 'photo')} to "
            "validate on are also trained on. The figures will be better than the truth. Remove them from one of the "
            "two.",
            tuple(f"{one.name} = {other.name}" for one, other in pairs),
        )


def contradicting(census: Census) -> Iterator[Finding]:
    """The same picture with two labels."""
    if census.task != CLASSIFICATION:
        return
    groups: dict[bytes, list[Photo]] = defaultdict(list)
    for photo in census.photos:
        groups[photo.look.digest].append(photo)
    pairs = []
    for first, *others in groups.values():
        pairs += [(first, other) for other in others if other.known.labels != first.known.labels]
    if pairs:
        named = [
            f"{one.name} ({_labels(census, one.known.labels)}) = {two.name} ({_labels(census, two.known.labels)})"
            for one, two in pairs
        ]
        yield Finding(
            False,
            f"The same picture has different labels: {plural(len(pairs), 'pair')} of photos. One label is wrong, or "
            "the photo shows both classes: correct the labels.",
            tuple(named),
        )


def small(census: Census) -> Iterator[Finding]:
    """Photos that the network sees enlarged."""
    settings, photos = census.settings, census.photos
    names = smaller(census)
    if names and len(names) >= SMALL * len(photos):
        yield Finding(
            False,
            f"{len(names)} of {plural(len(photos), 'photo')} are smaller than {settings}: they are enlarged, which "
            "costs time and shows the network nothing more. Set it to the photos' size, or take larger photos.",
            tuple(names),
        )


def smaller(census: Census) -> list[str]:
    """The photos that are smaller than the network's input, with their sizes."""
    settings = census.settings
    return [
        f"{photo.name} ({photo.size[0]} x {photo.size[1]})"
        for photo in census.photos
        if photo.size[0] < settings.width or photo.size[1] < settings.height
    ]


def grey(census: Census) -> Iterator[Finding]:
    """Photos without colour among others with it."""
    photos = census.photos
    shares = {part: _share(photo.look.grey for photo in census.part(part)) for part in PARTS}
    if not photos or max(shares.values()) < GREY or min(shares.values()) == 1:
        return
    totals = Counter(label for photo in photos for label in photo.known.labels)
    greys = Counter(label for photo in photos if photo.look.grey for label in photo.known.labels)
    mostly = [label for label in sorted(greys) if greys[label] > totals[label] / 2]
    tells = f", and most of {_labels(census, mostly)} are" if 0 < len(mostly) < len(totals) else ""
    yield Finding(
        False,
        f"{percent(shares[TRAIN])} of the photos to train on and {percent(shares[VALIDATION])} of those to validate on "
        f"are grey{tells}. The network may learn colour in place of what is shown. Use one kind, the kind that the "
        "endpoint will be sent, or see to it that each class has as many grey photos.",
        tuple(photo.name for photo in photos if photo.look.grey),
    )


def remarks(census: Census) -> Iterator[Finding]:
    """What a job only logs: files that are left out, boxes that are clipped."""
    for line in census.listing.remarks:
        yield Finding(False, ended(line))
    kinds: dict[str, list[str]] = defaultdict(list)
    for photo in census.photos:
        for kind, name in photo.known.notes:
            kinds[kind].append(name)
    for kind, names in kinds.items():
        yield Finding(False, f"{kind}: {len(names)}.", tuple(names))


def _share(values: Iterable[bool]) -> float:
    every = list(values)
    return sum(every) / len(every) if every else 0.0


def _called(census: Census, label: int) -> str:
    """` (cat)`; nothing where the class has no name but its number."""
    return f" ({census.names[label]})" if census.names[label] != str(label) else ""


def _labels(census: Census, labels: Sequence[int]) -> str:
    """Labels with the names of their classes, the first ten: `0 (cat), 2 (dog)`."""
    return some([f"{label}{_called(census, label)}" for label in labels])
