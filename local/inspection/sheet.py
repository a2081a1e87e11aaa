"""Writes dataset.png: the findings, the classes and sample photos in one image, for a chat or a document."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from local.algorithms import pages
from local.datasets.dataset import CLASSIFICATION, DETECTION, SEGMENTATION, TRAIN, VALIDATION
from local.inspection import measures, pictures
from local.inspection.census import Census
from local.inspection.finding import Finding
from local.inspection.findings import PURPOSE
from local.inspection.pictures import Sample
from serve.words import plural

_COLUMNS = {CLASSIFICATION: 6, DETECTION: 4, SEGMENTATION: 3}
_ROWS = {CLASSIFICATION: 4, DETECTION: 4, SEGMENTATION: 4}
_SIDE = {CLASSIFICATION: 180, DETECTION: 270, SEGMENTATION: 184}
_CAPTION = 22
_MAX_FINDINGS, _MAX_BARS = 12, 16
_SOFT, _ERROR, _WARNING, _GOOD = (95, 95, 90), (179, 38, 30), (138, 90, 0), (27, 110, 60)
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
_TRAIN, _VALIDATION = (42, 111, 201), (217, 96, 31)


def write(census: Census, findings: Sequence[Finding], samples: Sequence[Sample], path: Path) -> None:
    """Write the sheet, a PNG, with the training samples."""
    columns, rows = _COLUMNS[census.task], _ROWS[census.task]
    cards = [_card(census, sample) for sample in pages.evenly(samples, columns * rows)]
    width = _SIDE[census.task] * (2 if census.task == SEGMENTATION else 1) + (4 if census.task == SEGMENTATION else 0)
    cards = cards or [Image.new("RGB", (width, 1), "white")]
    pages.write(cards, columns, path, _head(census, findings, pages.width(columns, cards[0].width)))


def _card(census: Census, sample: Sample) -> Image.Image:
    """Draw a sample's pictures side by side, each in a square, above the names of its classes."""
    side, gap = _SIDE[census.task], 4
    width = len(sample.pictures) * (side + gap) - gap
    card = Image.new("RGB", (width, side + _CAPTION), "white")
    for number, picture in enumerate(sample.pictures):
        left = number * (side + gap)
        card.paste(pages.GREY, (left, 0, left + side, side))
        small = picture.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        card.paste(small, (left + (side - small.width) // 2, (side - small.height) // 2))
    names = ", ".join(pictures.drawable(census.class_names[label], label) for label in sample.labels) or "none"
    pen, font = ImageDraw.Draw(card), ImageFont.load_default(13)
    pen.text((2, side + 3), _shortened(pen, names, font, width - 4), fill=pages.INK, font=font)
    return card


class _Writer:
    """Writes lines on an image from the top; `y` is the position of the next line."""

    def __init__(self, width: int) -> None:
        self._page = Image.new("RGB", (width, 4000), "white")
        self.pen, self.width, self.y = ImageDraw.Draw(self._page), width, 4

    def line(self, text: str, size: int, colour: tuple[int, int, int], x: int = 0) -> None:
        """Write a text, wrapped at the width of the image."""
        font = ImageFont.load_default(size)
        letters = max(20, int((self.width - x) / (self.pen.textlength("abcdefghij klmnop", font=font) / 17)))
        for part in textwrap.wrap(text, letters) or [""]:
            self.pen.text((x, self.y), part, fill=colour, font=font)
            self.y += round(size * 1.4)

    def done(self) -> Image.Image:
        """Return the image, cropped below the last line."""
        return self._page.crop((0, 0, self.width, self.y))


def _head(census: Census, findings: Sequence[Finding], width: int) -> Image.Image:
    """Draw the title, the findings and a bar for each class."""
    writer = _Writer(width)
    writer.line(f"Data for {census.name}", 24, pages.INK)
    counts = ", ".join(plural(len(census.part(channel)), f"{PURPOSE[channel]} photo") for channel in PURPOSE)
    size = measures.median_size(census)
    median = f", median size {size[0]} x {size[1]} pixels" if size else ""
    writer.line(f"{counts}, {plural(census.num_classes, 'class')}{median}", 15, _SOFT)
    writer.y += 6
    for finding in findings[:_MAX_FINDINGS]:
        colour = _ERROR if finding.fatal else _WARNING
        writer.pen.rectangle((0, writer.y + 2, 4, writer.y + 16), fill=colour)
        text = f"{finding.severity}: {finding.message}"
        writer.line(_latin(text), 14, colour, x=12)
        writer.y += 3
    if len(findings) > _MAX_FINDINGS:
        writer.line(f"and {len(findings) - _MAX_FINDINGS} more: see dataset.html", 14, _SOFT, x=12)
    if not findings:
        writer.line("No problems found in the data.", 14, _GOOD)
    writer.y += 8
    _bars(writer, census)
    return writer.done()


def _bars(writer: _Writer, census: Census) -> None:
    """Draw a row for each class: its name, a blue bar for train and an orange bar for validation."""
    unit = {CLASSIFICATION: "photos", DETECTION: "boxes", SEGMENTATION: "pixels"}[census.task]
    channels = ((TRAIN, _TRAIN), (VALIDATION, _VALIDATION))
    half, font = (writer.width - 190) // 2, ImageFont.load_default(13)
    for number, (channel, colour) in enumerate(channels):
        writer.pen.text((190 + number * half, writer.y), f"{PURPOSE[channel]} {unit}", fill=colour, font=font)
    writer.y += 20
    amounts = {channel: census.amounts(channel) for channel, _ in channels}
    for label in measures.shown_classes(census, _MAX_BARS):
        name = pictures.drawable(census.class_names[label], label)
        title = name if name == str(label) else f"{label} {name}"
        writer.pen.text((0, writer.y), _shortened(writer.pen, title, font, 180), fill=pages.INK, font=font)
        for number, (channel, colour) in enumerate(channels):
            amount, top = amounts[channel][label], max([*amounts[channel].values(), 1])
            total, left = max(sum(amounts[channel].values()), 1), 190 + number * half
            right = left + round((half - 90) * amount / top)
            if amount:
                writer.pen.rectangle((left, writer.y + 2, right, writer.y + 14), fill=colour)
            text = f"{100 * amount / total:.1f} %" if census.task == SEGMENTATION else str(amount)
            writer.pen.text((right + 6, writer.y), text, fill=_SOFT, font=font)
        writer.y += 19
    if hidden := census.num_classes - min(census.num_classes, _MAX_BARS):
        are = "is" if hidden == 1 else "are"
        writer.line(f"{plural(hidden, 'class')} between the most common and the rarest {are} not shown", 13, _SOFT)


def _latin(text: str) -> str:
    """Replace characters that the font lacks with question marks."""
    return "".join(letter if ord(letter) < 0x250 else "?" for letter in text)


def _shortened(
    pen: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, max_width: int
) -> str:
    """Truncate a text to `max_width` pixels."""
    if pen.textlength(text, font=font) <= max_width:
        return text
    while text and pen.textlength(f"{text}...", font=font) > max_width:
        text = text[:-1]
    return f"{text}..."
