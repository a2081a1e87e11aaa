"""Draw a data set of six breeds of cats and dogs in the official layout of the Oxford-IIIT Pet data set.

The demo and the tests train on it, so that they need no download. Pose, size, place, light, colour, clutter and noise
vary, so that a model has something to learn. Trimaps and head boxes are exact, because they come from a map that is
drawn together with the picture.
"""

import math
import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from local.datasets.drawn import scenes
from local.datasets.drawn.animals import POSES
from local.datasets.drawn.breeds import BREEDS, Breed, individual
from local.datasets.drawn.canvas import HEAD, OVERSAMPLING, SCENE, Canvas, Pen
from local.files import replacing
from local.progress import Progress
from serve.machine import cpu_count

PET, BACKGROUND, BORDER = 1, 2, 3

# Head radii as shares of a picture's shorter side. They give pet, background and border about the same shares of pixels
# as in the real set (three breeds, 510 photos: 28, 60 and 12 %). A head box covers a fifth of the photo.
_HEADS = {"sitting": (0.13, 0.255), "standing": (0.12, 0.225), "lying": (0.13, 0.235), "portrait": (0.19, 0.405)}
_BAND = 0.06  # width of a trimap's border; see trimap
_HALF_HEAD_AREA = 1.3  # in squared radii; a dog's head without ears, the smallest head, has twice that

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Picture:
    """A drawn photo (RGB), its trimap (L: 1 pet, 2 background, 3 border) and its head box.

    The box is (xmin, ymin, xmax, ymax) in pixels counted from 1, with both ends inclusive, as in PASCAL VOC.
    """

    photo: Image.Image
    trimap: Image.Image
    head: Box


@dataclass(frozen=True)
class _Task:
    """The input of a worker process for one photo."""

    root: Path
    breed: Breed
    number: int
    seed: int
    boxed: bool


def data_set(
    root: Path,
    trainval: int = 60,
    test: int = 15,
    seed: int = 0,
    breeds: tuple[Breed, ...] = BREEDS,
    workers: int | None = None,
) -> None:
    """Draw a data set and replace the folder `root` with it when it is complete.

    `trainval` and `test` are the numbers of photos per breed. As in the real set, only photos of trainval have XML
    files with head boxes. The same arguments give the same files. `workers` is the number of processes, by default the
    number of usable CPUs.
    """
    with replacing(root) as building:
        for folder in ("images", "annotations/trimaps", "annotations/xmls"):
            (building / folder).mkdir(parents=True)
        tasks = [
            _Task(building, breed, number, seed, boxed=number <= trainval)
            for breed in breeds
            for number in range(1, trainval + test + 1)
        ]
        workers = workers or cpu_count()
        with (
            Progress("Drawing", len(tasks), "photo") as progress,
            ProcessPoolExecutor(workers, initializer=_ignore_interrupts) as pool,
        ):
            for count, _ in enumerate(pool.map(_draw_files, tasks, chunksize=8), start=1):
                progress.done(count)
        _write_lists(building / "annotations", breeds, trainval, test)


def picture(breed: Breed, generator: np.random.Generator) -> Picture:
    """Draw a random picture of the breed with sides of 150 to 230 pixels.

    Repeat until at least half of the head is visible.
    """
    while True:
        canvas = Canvas(int(generator.integers(150, 231)), int(generator.integers(150, 231)))
        radius = _compose(canvas, breed, generator)
        labels = np.asarray(canvas.labels)
        whole = labels[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING]
        rows, columns = np.nonzero(whole == HEAD)
        if rows.size >= _HALF_HEAD_AREA * radius**2:
            break
    box = (int(columns.min()) + 1, int(rows.min()) + 1, int(columns.max()) + 1, int(rows.max()) + 1)
    return Picture(photo=scenes.render(canvas, generator), trimap=trimap(whole != SCENE), head=box)


def trimap(pet: NDArray[np.bool_]) -> Image.Image:
    """Return the trimap (mode L) of a bool mask (height, width): pet, background, and a band along the outline.

    The band is wider for larger animals, as in the real set, where it is 10, 16 or 22 pixels in photos of 500 pixels:
    7 % of the square root of the animal's area (6 to 9 % in the middle half of 510 photos). Here it is 6 %, so that the
    band covers 13 % of a picture, compared with 12 % in the real set.
    """
    mask = Image.fromarray(np.where(pet, 255, 0).astype(np.uint8), "L")
    reach = max(1, round(_BAND * math.sqrt(pet.sum()) / 2))
    grown = np.asarray(mask.filter(ImageFilter.MaxFilter(2 * reach + 1))) > 0
    shrunk = np.asarray(mask.filter(ImageFilter.MinFilter(2 * reach + 1))) > 0
    return Image.fromarray(np.where(shrunk, PET, np.where(grown, BORDER, BACKGROUND)).astype(np.uint8), "L")


def _compose(canvas: Canvas, breed: Breed, generator: np.random.Generator) -> float:
    """Draw a scene, an animal and sometimes an object in front of it. Return the radius of the head in pixels."""
    ground = scenes.paint(canvas, generator)
    side = min(canvas.width, canvas.height)
    pose = str(generator.choice(["sitting", "standing", "lying", "portrait"], p=[0.35, 0.2, 0.2, 0.25]))
    unit = side * generator.uniform(*_HEADS[pose])
    x = canvas.width * generator.uniform(0.36, 0.64)
    y = canvas.height * generator.uniform(0.8, 1.0) if pose == "portrait" else ground
    turn = generator.normal(0, 0.04)
    mirrored = bool(generator.integers(2))
    shadow = Pen(canvas, x, y, unit, label=None)
    if pose != "portrait":
        shadow.ellipse(0, 0, 2.2, 0.24, (84, 80, 78))
    POSES[pose](Pen(canvas, x, y, unit, turn, mirrored), individual(breed, generator), generator)
    if generator.uniform() < 0.35:
        scenes.add_foreground(canvas, generator, x, min(y, canvas.height), unit)
    return unit


def _draw_files(task: _Task) -> None:
    """Draw one photo and its annotations. The result depends only on seed, breed and number."""
    generator = np.random.default_rng([task.seed, *task.breed.name.encode(), task.number])
    drawn = picture(task.breed, generator)
    name = f"{task.breed.name}_{task.number}"
    drawn.photo.save(task.root / "images" / f"{name}.jpg", quality=int(generator.integers(78, 96)))
    drawn.trimap.save(task.root / "annotations" / "trimaps" / f"{name}.png")
    if task.boxed:
        xml = _voc(name, task.breed.species, drawn)
        (task.root / "annotations" / "xmls" / f"{name}.xml").write_text(xml, encoding="utf-8")


def _voc(name: str, species: str, drawn: Picture) -> str:
    """Return the PASCAL VOC annotation of a photo with the same tags as in the real data set."""
    xmin, ymin, xmax, ymax = drawn.head
    width, height = drawn.photo.size
    return (
        f"<annotation><folder>OXIIIT</folder><filename>{name}.jpg</filename><source><database>drawn</database>"
        f"<annotation>drawn</annotation><image>drawn</image></source><size><width>{width}</width>"
        f"<height>{height}</height><depth>3</depth></size><segmented>0</segmented><object><name>{species}</name>"
        f"<pose>Frontal</pose><truncated>0</truncated><occluded>0</occluded><bndbox><xmin>{xmin}</xmin>"
        f"<ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox><difficult>0</difficult></object>"
        "</annotation>\n"
    )


def _write_lists(annotations: Path, breeds: tuple[Breed, ...], trainval: int, test: int) -> None:
    """Write list.txt, trainval.txt and test.txt. Classes are numbered by name ignoring case, as in the real set."""
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    species_count = {"cat": 0, "dog": 0}
    for class_id, breed in enumerate(sorted(breeds, key=lambda breed: breed.name.lower()), start=1):
        species_count[breed.species] += 1
        numbers = f"{class_id} {1 if breed.species == 'cat' else 2} {species_count[breed.species]}"
        for number in range(1, trainval + test + 1):
            lines["trainval" if number <= trainval else "test"].append(f"{breed.name}_{number} {numbers}\n")
    for name, rows in lines.items():
        (annotations / f"{name}.txt").write_text("".join(rows), encoding="utf-8")
    header = "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n#SPECIES: 1:Cat 2:Dog\n"
    (annotations / "list.txt").write_text(header + "".join(lines["trainval"] + lines["test"]), encoding="utf-8")


def _ignore_interrupts() -> None:
    """Ignore Ctrl-C, which the terminal sends to all processes, so that only the parent handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
