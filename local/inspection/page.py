"""dataset.html: all that was found, on one page that needs nothing else."""

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
from local.inspection.findings import TO, smaller
from local.inspection.listing import PARTS
from local.inspection.pictures import Sample
from serve.words import plural
from train.semantic_segmentation import masks

_QUALITY = 82
_NAMES = 40
_CLASSES = 60
_UNITS = {CLASSIFICATION: "photos", DETECTION: "boxes", SEGMENTATION: "pixels"}


def render(census: Census, findings: Sequence[Finding], samples: dict[str, list[Sample]], folder: str) -> str:
    """The page as HTML. `folder` is what the user called the channels' folder."""
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
    """The numbers at the top."""
    listing = census.listing
    figures = [
        (str(len(census.part(TRAIN))), "photos to train on"),
        (str(len(census.part(VALIDATION))), "photos to validate on"),
        (str(census.classes), "classes" if census.classes != 1 else "class"),
    ]
    if census.task == DETECTION:
        figures.append((str(len(census.boxes())), "boxes"))
    if sizes := measures.median_size(census):
        figures.append((f"{sizes[0]} × {sizes[1]}", "median size in pixels"))  # noqa: RUF001
    figures.append((listing.form, "is the channels' form" + (", multi-label" if listing.multi_label else "")))
    split = ""
    if listing.split_off:
        split = (
            f"<p>There is no channel to validate on: the job splits off {100 * listing.split_off:g} % of each class, "
            "as here with the default seed.</p>"
        )
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(words)}</span></div>" for value, words in figures)
    return f'<div class="figures">{cells}</div>{split}'


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return (
            '<section class="findings"><h2>What will go wrong</h2>'
            '<p class="good">Nothing that can be seen from the data.</p></section>'
        )
    rows = []
    for finding in findings:
        names = f"<details><summary>{len(finding.names)} in all</summary>{_names(finding.names)}</details>"
        text = f"<p>{escape(finding.words)}</p>{names if finding.names else ''}"
        kind = "ends" if finding.ends else "harms"
        rows.append(f'<li class="{kind}"><strong>{finding.kind}</strong><div>{text}</div></li>')
    return f'<section class="findings"><h2>What will go wrong</h2><ul>{"".join(rows)}</ul></section>'


def _names(names: Sequence[str]) -> str:
    more = f"<li>and {len(names) - _NAMES} more</li>" if len(names) > _NAMES else ""
    return f"<ul>{''.join(f'<li>{escape(name)}</li>' for name in names[:_NAMES])}{more}</ul>"


def _samples(census: Census, channel: str, samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    total = len(census.part(channel))
    cards = "".join(_card(census, sample) for sample in samples)
    what = f"{len(samples)} of {plural(total, 'photo')} {TO[channel]}"
    legend = "" if census.task == CLASSIFICATION else _legend(census, samples)
    return f'<section><h2>{what}</h2>{legend}<div class="cards {census.task}">{cards}</div></section>'


def _card(census: Census, sample: Sample) -> str:
    name, (width, height) = sample.photo.name, sample.photo.size
    words = ", ".join(census.names[label] for label in sample.labels) or "none"
    shown = "".join(
        f'<img src="{_data(picture)}" width="{picture.width}" height="{picture.height}" alt="{escape(name)}" '
        'loading="lazy">'
        for picture in sample.pictures
    )
    return (
        f'<figure><div class="shown">{shown}</div><figcaption><b>{_breakable(words)}</b>'
        f'<span title="{escape(name)}">{_breakable(name.rpartition("/")[2])}</span>'
        f"<span>{width} × {height}</span></figcaption></figure>"  # noqa: RUF001
    )


def _breakable(text: str) -> str:
    """A text as HTML that may be broken after its underscores and hyphens."""
    return escape(text).replace("_", "_<wbr>").replace("-", "-<wbr>")


def _data(picture: Image.Image) -> str:
    """A picture as a data URL."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _legend(census: Census, samples: Sequence[Sample]) -> str:
    """A square in the colour of each class that the samples show."""
    of = pictures.box_colour if census.task == DETECTION else pictures.colour
    labels = sorted({label for sample in samples for label in sample.labels})
    chips = "".join(_chip(of(label), f"{label} {_named(census, label)}") for label in labels[:_CLASSES])
    if any(sample.photo.known.values is not None for sample in samples):
        chips += _chip(pictures.colour(masks.IGNORE), "255, ignored")
    return f'<p class="legend">{chips}</p>'


def _chip(colour: tuple[int, int, int], words: str) -> str:
    return f'<span><i style="background:rgb{colour}"></i>{escape(words)}</span>'


def _named(census: Census, label: int) -> str:
    """The name of a class, nothing where that is its number."""
    return "" if census.names[label] == str(label) else census.names[label]


def _classes(census: Census) -> str:
    """A row for each class, with a bar for each channel."""
    amounts = {channel: census.amounts(channel) for channel in PARTS}
    photos = {channel: census.photos_with(channel) for channel in PARTS}
    totals = {channel: max(sum(amounts[channel].values()), 1) for channel in PARTS}
    order = measures.chosen_classes(census, _CLASSES)
    top = {channel: max([*amounts[channel].values(), 1]) for channel in PARTS}
    rows = []
    for label in order:
        cells = [f"<td>{label}</td><th scope=row>{_breakable(_named(census, label))}</th>"]
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
    left = census.classes - len(order)
    more = f"<p>{plural(left, 'class')} between the commonest and the rarest are not shown.</p>" if left else ""
    return (
        f'<section><h2>Classes</h2><div class="wide"><table class="classes"><thead><tr><th>label</th><th>name</th>'
        f"<th colspan=2>{unit}, train</th><th colspan=2>{unit}, validation</th>{extra}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{more}</section>"
    )


def _sizes(census: Census) -> str:
    """Photo sizes against the network's input, and the photos that are smaller."""
    if not census.photos:
        return ""
    settings, below = census.settings, smaller(census)
    mark = (settings.width, settings.height, str(settings))
    chart = charts.bubbles(measures.sizes(census), ("width in pixels", "height in pixels"), mark[:2], mark)
    figures = _figure(chart, f"Sizes: the larger a circle, the more photos have it. Dashed: {settings}.")
    if census.task == DETECTION:
        counts, labels = charts.bins([len(photo.boxes) for photo in census.photos])
        figures += _figure(charts.columns(counts, labels, ("boxes in a photo", "photos")), "Boxes in a photo.")
    end = f"<p>No photo is smaller than {escape(str(settings))}.</p>"
    if below:
        words = f"{len(below)} of {plural(len(census.photos), 'photo')} are smaller than {settings}"
        end = f"<details><summary>{escape(words)}</summary>{_names(below)}</details>"
    return f'<section><h2>Photos</h2><div class="charts">{figures}</div>{end}</section>'


def _boxes(census: Census) -> str:
    """How large boxes are, and where."""
    if not len(census.boxes()):
        return ""
    axes = "width in % of the photo", "height in % of the photo"
    figures = _figure(charts.bubbles(measures.box_sizes(census), axes, (100, 100)), "Sizes of boxes.")
    figures += _figure(
        charts.heat(measures.coverage(census), "where boxes are"),
        "Places of boxes on a photo: the stronger the colour, the more boxes cover it.",
    )
    return f'<section><h2>Boxes</h2><div class="charts">{figures}</div></section>'


def _figure(chart: str, words: str) -> str:
    return f"<figure>{chart}<figcaption>{escape(words)}</figcaption></figure>"
