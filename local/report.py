"""What an endpoint says of photos whose class is known: a table, a sheet of photos, the accuracy."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from local.progress import Progress
from serve import preprocess

Ask = Callable[[bytes], Sequence[float]]

_CLIENTS = 2
_WIDEST_TABLE = 110
_CORNER = "true, predicted as"
_THUMBNAIL = 150
_CAPTION = 38
_COLUMNS = 6
_ROWS = 5


@dataclass(frozen=True)
class Answer:
    """A photo, its label and the endpoint's probabilities, one per class."""

    photo: Path
    label: int
    probabilities: tuple[float, ...]

    @property
    def predicted(self) -> int:
        """The label of the highest probability."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)


def ask_all(photos: Sequence[tuple[Path, int]], ask: Ask) -> list[Answer]:
    """Send every photo's bytes through `ask` (an image file's bytes -> probabilities), two at a time, in order.

    Whatever `ask` raises ends the whole.
    """
    answers: list[Answer] = []
    with Progress("Predicting", len(photos), "photos") as progress, ThreadPoolExecutor(_CLIENTS) as pool:
        replies = pool.map(lambda item: ask(item[0].read_bytes()), photos)
        for (photo, label), probabilities in zip(photos, replies, strict=True):
            answers.append(Answer(photo, label, tuple(probabilities)))
            progress.done(len(answers))
    return answers


def accuracy_line(answers: Sequence[Answer]) -> str:
    """`accuracy 0.97 (58 of 60)`."""
    right = sum(answer.predicted == answer.label for answer in answers)
    return f"accuracy {right / len(answers):.2f} ({right} of {len(answers)})"


def table(answers: Sequence[Answer], names: Sequence[str]) -> str:
    """Rows are true classes, columns predicted ones; with more classes than fit across, a line per class instead."""
    counts = Counter((answer.label, answer.predicted) for answer in answers)
    side = max(map(len, (*names, _CORNER)))
    widths = [max(len(name), 4) for name in names]
    if side + sum(widths) + 2 * len(widths) > _WIDEST_TABLE:
        return _lines(counts, names)
    rows = ["  ".join([_CORNER.ljust(side), *map(str.rjust, names, widths)])]
    for label, name in enumerate(names):
        cells = [str(counts[label, other] or ".") for other in range(len(names))]
        rows.append("  ".join([name.ljust(side), *map(str.rjust, cells, widths)]))
    return "\n".join(rows)


def _lines(counts: Counter[tuple[int, int]], names: Sequence[str]) -> str:
    """`Abyssinian   61 of 70 right, taken for Bengal 6, Egyptian_Mau 3`, a line per class."""
    side = max(map(len, names))
    rows = []
    for label, name in enumerate(names):
        row = {other: count for (true, other), count in counts.items() if true == label}
        wrong = sorted(((count, names[other]) for other, count in row.items() if other != label), reverse=True)
        taken = "".join([", taken for ", ", ".join(f"{other} {count}" for count, other in wrong[:3])]) if wrong else ""
        rows.append(f"{name:<{side}}  {row.get(label, 0):>4} of {sum(row.values()):>4} right{taken}")
    return "\n".join(rows)


def sheet(answers: Sequence[Answer], names: Sequence[str], path: Path) -> None:
    """Write a PNG of up to 30 photos, evenly chosen, each with its predicted class and whether that is right."""
    wanted = min(len(answers), _COLUMNS * _ROWS)
    chosen = [answers[index * len(answers) // wanted] for index in range(wanted)]
    rows = -(-wanted // _COLUMNS)
    page = Image.new("RGB", (_COLUMNS * (_THUMBNAIL + 8) + 8, rows * (_THUMBNAIL + _CAPTION + 8) + 8), "white")
    for index, answer in enumerate(chosen):
        row, column = divmod(index, _COLUMNS)
        page.paste(_card(answer, names), (8 + column * (_THUMBNAIL + 8), 8 + row * (_THUMBNAIL + _CAPTION + 8)))
    partial = path.with_name(f".{path.name}.part")
    page.save(partial, "PNG")
    partial.replace(path)


def _card(answer: Answer, names: Sequence[str]) -> Image.Image:
    """One photo with its caption: a green bar when right, a red one when wrong."""
    right = answer.predicted == answer.label
    card = Image.new("RGB", (_THUMBNAIL, _THUMBNAIL + _CAPTION), (226, 243, 229) if right else (252, 224, 222))
    photo = preprocess.shorter_side(preprocess.decode(answer.photo.read_bytes(), short_side=_THUMBNAIL), _THUMBNAIL)
    left, top = (photo.width - _THUMBNAIL) // 2, (photo.height - _THUMBNAIL) // 2
    card.paste(photo.crop((left, top, left + _THUMBNAIL, top + _THUMBNAIL)))
    pen = ImageDraw.Draw(card)
    pen.rectangle((0, _THUMBNAIL, _THUMBNAIL, _THUMBNAIL + 3), fill=(46, 145, 72) if right else (204, 60, 52))
    said = f"{names[answer.predicted]} {answer.probabilities[answer.predicted]:.2f}"
    pen.text((5, _THUMBNAIL + 5), said, fill=(30, 30, 30), font=ImageFont.load_default(13))
    truth = "right" if right else f"is {names[answer.label]}"
    pen.text((5, _THUMBNAIL + 21), truth, fill=(90, 90, 90), font=ImageFont.load_default(12))
    return card
