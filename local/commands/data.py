"""`python3 -m local data`: download the Oxford-IIIT Pet data set (0.8 GB) from its official site.

Downloads, verifies and unpacks both archives. After an interruption, run it again: it resumes the download.
"""

import argparse
from pathlib import Path

from local.datasets import download
from local.datasets.layouts.pets import lists as pets
from serve.words import plural


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--out", type=Path, default=Path("data"), help="folder for images/ and annotations/ (default: data)"
    )
    for part in download.PARTS:
        parser.add_argument(f"--{part}-url", default=f"{download.SITE}/{part}.tar.gz", help="default: %(default)s")
        parser.add_argument(
            f"--{part}-sha256", metavar="SUM", type=_sha256, help=f"expected SHA-256 checksum of {part}.tar.gz"
        )
    parser.add_argument("--keep-archives", action="store_true", help="keep the archives after unpacking them")


def run(args: argparse.Namespace) -> int:
    """Download the data set. Raises UserError or CommandFailed with the reason and the fix."""
    args.out.mkdir(parents=True, exist_ok=True)
    for part in download.PARTS:
        if (args.out / part).is_dir():
            print(f"{args.out / part} already exists, not downloaded")
            continue
        archive = args.out / f"{part}.tar.gz"
        url = getattr(args, f"{part}_url")
        if archive.exists():
            print(f"{archive} already exists, not downloaded")
        else:
            download.download(url, archive)
        download.check(archive, getattr(args, f"{part}_sha256"), url)
        download.extract(archive, part, args.out)
        if not args.keep_archives:
            archive.unlink()
    lists = pets.read(args.out)
    print(f"{args.out}: {plural(len(lists.trainval), 'photo')} in trainval.txt, {len(lists.test)} in test.txt")
    return 0


def _sha256(text: str) -> str:
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a SHA-256 checksum: give 64 hexadecimal digits")
    return text.lower()
