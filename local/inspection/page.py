"""Renders dataset.html: the findings, sample photos and statistics in a single file."""

import base64
import io
from collections.abc import Sequence
from html import escape
from importlib import resources

from PIL import Image

from local.datasets.dataset import CLASSIFICATION, DETECTION, SEGMENTATION, TRAIN, VALIDATION
from local.inspection import charts, measures, pictures
from local.inspection.census import Census
from local.inspection.finding import Finding
from local.inspection.findings import PURPOSE, smaller
from local.inspection.listing import PARTS
from local.inspection.pictures import Sample
from serve.words import plural
from train.semantic_segmentation import masks

_QUALITY = 82
_MAX_NAMES = 40
_MAX_CLASSES = 60
_UNITS = {CLASSIFICATION: "photos", DETECTION: "boxes", SEGMENTATION: "pixels"}


def render(census: Census, findings: Sequence[Finding], samples: dict[str, list[Sample]], folder: str) -> str:
    """Return the page as HTML. `folder` is the folder of the channels, as the user gave it."""
    style = resources.files("local.inspection").joinpath("page.css").read_text(encoding="utf-8")
    title = f"Data for {census.name}"
    values = " ".join(f"{key}={value}" for key, value in census.hyperparameters.items())
    body = [
        f"<header><h1>{escape(title)}</h1><p>{escape(folder)}</p>{_figures(census)}</header>",
        _findings(findings),
        *(_samples(census, channel, samples[channel]) for channel in PARTS),
        _classes(census),
        _sizes(census),
        *([_boxes(census)] if census.task == DETECTION else []),
        f"<footer>Written by <code>python3 -m local inspect {escape(census.name)}</code>. "
        f"Set <code>{escape(values)}</code>.</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _figures(census: Census) -> str:
    """Return the figures at the top."""
    listing = census.listing
    figures = [
        (str(len(census.part(TRAIN))), "training photos"),
        (str(len(census.part(VALIDATION))), "validation photos"),
        (str(census.num_classes), "classes" if census.num_classes != 1 else "class"),
    ]
    if census.task == DETECTION:
        figures.append((str(len(census.boxes())), "boxes"))
    if size := measures.median_size(census):
        figures.append((f"{size[0]} × {size[1]}", "median size in pixels"))  # noqa: RUF001
    figures.append((listing.form, "format" + (", multi-label" if listing.multi_label else "")))
    split = ""
    if listing.validation_split:
        split = (
            f"<p>There is no validation channel: the job splits off {100 * listing.validation_split:g} % of each "
            "class. This page shows the split with the default seed.</p>"
        )
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(label)}</span></div>" for value, label in figures)
    return f'<div class="figures">{cells}</div>{split}'


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return '<section class="findings"><h2>Findings</h2><p class="good">No problems found in the data.</p></section>'
    rows = []
    for finding in findings:
        names = f"<details><summary>{len(finding.details)} in total</summary>{_names(finding.details)}</details>"
        text = f"<p>{escape(finding.message)}</p>{names if finding.details else ''}"
        style = "error" if finding.fatal else "warning"
        rows.append(f'<li class="{style}"><strong>{finding.severity}</strong><div>{text}</div></li>')
    return f'<section class="findings"><h2>Findings</h2><ul>{"".join(rows)}</ul></section>'


def _names(names: Sequence[str]) -> str:
    more = f"<li>and {len(names) - _MAX_NAMES} more</li>" if len(names) > _MAX_NAMES else ""
    return f"<ul>{''.join(f'<li>{escape(name)}</li>' for name in names[:_MAX_NAMES])}{more}</ul>"


def _samples(census: Census, channel: str, samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    total = len(census.part(channel))
    cards = "".join(_card(census, sample) for sample in samples)
    title = f"{len(samples)} of {plural(total, f'{PURPOSE[channel]} photo')}"
    legend = "" if census.task == CLASSIFICATION else _legend(census, samples)
    return f'<section><h2>{title}</h2>{legend}<div class="cards {census.task}">{cards}</div></section>'


def _card(census: Census, sample: Sample) -> str:
    name, (width, height) = sample.photo.name, sample.photo.size
    classes = ", ".join(census.class_names[label] for label in sample.labels) or "none"
    shown = "".join(
        f'<img src="{_data(picture)}" width="{picture.width}" height="{picture.height}" alt="{escape(name)}" '
        'loading="lazy">'
        for picture in sample.pictures
    )
    return (
        f'<figure><div class="shown">{shown}</div><figcaption><b>{_breakable(classes)}</b>'
        f'<span title="{escape(name)}">{_breakable(name.rpartition("/")[2])}</span>'
        f"<span>{width} × {height}</span></figcaption></figure>"  # noqa: RUF001
    )


def _breakable(text: str) -> str:
    """Return the text as HTML, with line breaks allowed after underscores and hyphens."""
    return escape(text).replace("_", "_<wbr>").replace("-", "-<wbr>")


def _data(picture: Image.Image) -> str:
    """Return a picture as a data URL."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _legend(census: Census, samples: Sequence[Sample]) -> str:
    """Return a colour chip for each class in the samples."""
    colour_of = pictures.box_colour if census.task == DETECTION else pictures.colour
    labels = sorted({label for sample in samples for label in sample.labels})
    chips = "".join(_chip(colour_of(label), f"{label} {_name(census, label)}") for label in labels[:_MAX_CLASSES])
    if any(sample.photo.annotation.histogram is not None for sample in samples):
        chips += _chip(pictures.colour(masks.IGNORE), "255, ignored")
    return f'<p class="legend">{chips}</p>'


def _chip(colour: tuple[int, int, int], text: str) -> str:
    return f'<span><i style="background:rgb{colour}"></i>{escape(text)}</span>'


def _name(census: Census, label: int) -> str:
    """Return the name of a class, "" if it has none."""
    return "" if census.class_names[label] == str(label) else census.class_names[label]


def _classes(census: Census) -> str:
    """Return a table with a row for each class and a bar for each channel."""
    amounts = {channel: census.amounts(channel) for channel in PARTS}
    photos = {channel: census.photos_with(channel) for channel in PARTS}
    totals = {channel: max(sum(amounts[channel].values()), 1) for channel in PARTS}
    shown = measures.shown_classes(census, _MAX_CLASSES)
    top = {channel: max([*amounts[channel].values(), 1]) for channel in PARTS}
    rows = []
    for label in shown:
        cells = [f"<td>{label}</td><th scope=row>{_breakable(_name(census, label))}</th>"]
        for channel in PARTS:
            amount = amounts[channel][label]
            text = f"{100 * amount / totals[channel]:.1f} %" if census.task == SEGMENTATION else f"{amount}"
            bar = f'<i class="{channel}" style="width:{100 * amount / top[channel]:.1f}%"></i>'
            cells.append(f'<td class="number">{text}</td><td class="bar">{bar}</td>')
        if census.task != CLASSIFICATION:
            cells += [f'<td class="number">{photos[channel][label]}</td>' for channel in PARTS]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    unit = _UNITS[census.task]
    extra = "<th>photos, train</th><th>photos, validation</th>" if census.task != CLASSIFICATION else ""
    hidden = census.num_classes - len(shown)
    more = ""
    if hidden:
        are = "is" if hidden == 1 else "are"
        more = f"<p>{plural(hidden, 'class')} between the most common and the rarest {are} not shown.</p>"
    return (
        f'<section><h2>Classes</h2><div class="wide"><table class="classes"><thead><tr><th>label</th><th>name</th>'
        f"<th colspan=2>{unit}, train</th><th colspan=2>{unit}, validation</th>{extra}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{more}</section>"
    )


def _sizes(census: Census) -> str:
    """Return a chart of photo sizes and the photos that are smaller than the network's input."""
    if not census.photos:
        return ""
    settings, below = census.settings, smaller(census)
    mark = (settings.width, settings.height, str(settings))
    chart = charts.bubbles(measures.sizes(census), ("width in pixels", "height in pixels"), mark[:2], mark)
    figures = _figure(chart, f"Photo sizes. Larger circles stand for more photos. Dashed line: {settings}.")
    if census.task == DETECTION:
        counts, labels = charts.bins([len(photo.boxes) for photo in census.photos])
        figures += _figure(charts.columns(counts, labels, ("boxes per photo", "photos")), "Boxes per photo.")
    smaller_photos = f"<p>No photo is smaller than {escape(str(settings))}.</p>"
    if below:
        are = "is" if len(below) == 1 else "are"
        title = f"{len(below)} of {plural(len(census.photos), 'photo')} {are} smaller than {settings}"
        smaller_photos = f"<details><summary>{escape(title)}</summary>{_names(below)}</details>"
    return f'<section><h2>Photos</h2><div class="charts">{figures}</div>{smaller_photos}</section>'


def _boxes(census: Census) -> str:
    """Return charts of the sizes and positions of boxes."""
    if not len(census.boxes()):
        return ""
    axes = "width in % of the photo", "height in % of the photo"
    figures = _figure(charts.bubbles(measures.box_sizes(census), axes, (100, 100)), "Box sizes.")
    figures += _figure(
        charts.heatmap(measures.coverage(census), "box positions"),
        "Box positions: the stronger the colour, the more boxes cover this part of the photo.",
    )
    return f'<section><h2>Boxes</h2><div class="charts">{figures}</div></section>'


def _figure(chart: str, caption: str) -> str:
    return f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"
