"""Inspects the channels of a job: writes dataset.html and dataset.png, and returns the lines for the terminal."""

from pathlib import Path
from typing import NamedTuple

from local.datasets.dataset import TRAIN
from local.datasets.names import printable
from local.datasets.photo_cache import PhotoCache
from local.files import replacing
from local.inspection import census, findings, page, pictures, sheet
from local.inspection.finding import Finding
from local.inspection.listing import PARTS
from local.inspection.settings import Settings

PAGE, SHEET = "dataset.html", "dataset.png"


class Inspection(NamedTuple):
    """The findings, fatal ones first, and the paths of the page and the sheet."""

    findings: list[Finding]
    page: Path
    sheet: Path

    @property
    def lines(self) -> list[str]:
        """The findings, one line each, and the path of the page."""
        lines = []
        for finding in self.findings:
            more = f" (all {len(finding.details)}: see the report)" if finding.details else ""
            lines.append(printable(f"{finding.severity}: {finding.message}{more}"))
        return [*(lines or ["No problems found in the data."]), f"Report: {self.page}"]


def inspect(name: str, folder: Path, out: Path, settings: Settings, cache: PhotoCache | None = None) -> Inspection:
    """Inspect the channels of the algorithm `name` below `folder` and write the page and the sheet into `out`.

    `cache` has facts about photos that were decoded before. Raises UserError if a channel is missing.
    """
    result = census.take(name, folder, settings, PhotoCache() if cache is None else cache)
    problems = findings.find(result)
    samples = {channel: pictures.samples(result, channel) for channel in PARTS}
    inspection = Inspection(problems, out / PAGE, out / SHEET)
    with replacing(inspection.page) as partial:
        # File names may not be valid UTF-8.
        partial.write_bytes(page.render(result, problems, samples, str(folder)).encode("utf-8", "backslashreplace"))
    sheet.write(result, problems, samples[TRAIN], inspection.sheet)
    return inspection
