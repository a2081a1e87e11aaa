"""The inspection of a job's channels: dataset.html, dataset.png, and the lines that a terminal shows."""

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


class Inspected(NamedTuple):
    """What was found, what ends the job first, and where it can be looked at."""

    findings: list[Finding]
    page: Path
    sheet: Path

    @property
    def lines(self) -> list[str]:
        """The findings in lines for a terminal, then the files."""
        lines = []
        for finding in self.findings:
            more = f" ({len(finding.names)} in all: see the page)" if finding.names else ""
            lines.append(printable(f"{finding.kind}: {finding.words}{more}"))
        return [*(lines or ["Nothing that will go wrong can be seen from the data."]), f"Look at {self.page}"]


def inspect(name: str, folder: Path, out: Path, settings: Settings, cache: PhotoCache | None = None) -> Inspected:
    """Inspect the channels of the algorithm `name` below `folder` and write the page and the sheet into `out`.

    `cache` are those at photos that have been decoded before. Raises UserError for a channel that is missing.
    """
    taken = census.take(name, folder, settings, PhotoCache() if cache is None else cache)
    found = findings.find(taken)
    samples = {channel: pictures.samples(taken, channel) for channel in PARTS}
    done = Inspected(found, out / PAGE, out / SHEET)
    with replacing(done.page) as partial:
        # Names of files may be no UTF-8.
        partial.write_bytes(page.render(taken, found, samples, str(folder)).encode("utf-8", "backslashreplace"))
    sheet.write(taken, found, samples[TRAIN], done.sheet)
    return done
