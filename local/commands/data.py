"""`python3 -m local data`: the Oxford-IIIT Pet data set from its own site (0.8 GB), in its official layout.

Both archives are downloaded, checked and unpacked. Run it again after an interruption: it goes on where it stopped.
"""

import argparse
from pathlib import Path

from local.datasets import download
from local.datasets.layouts.pets import lists as pets
from serve.words import plural


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `data`."""
    parser.add_argument(
        "--out", type=Path, default=Path("data"), help="folder for images/ and annotations/ (default: data)"
    )
    for part in download.PARTS:
        parser.add_argument(f"--{part}-url", default=f"{download.SITE}/{part}.tar.gz", help="default: %(default)s")
        parser.add_argument(
            f"--{part}-sha256", metavar="SUM", type=_sha256, help=f"refuse {part}.tar.gz with another checksum"
        )
    parser.add_argument(
        "--keep-archives", action="store_true", help="do not delete the archives once they are unpacked"
    )


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError or CommandFailed with the reason and the fix."""
    args.out.mkdir(parents=True, exist_ok=True)
    for part in download.PARTS:
        if (args.out / part).is_dir():
            print(f"{args.out / part} is there already, not downloaded")
            continue
        archive = args.out / f"{part}.tar.gz"
        url = getattr(args, f"{part}_url")
        if archive.exists():
            print(f"{archive} is there already, not downloaded")
        else:
            download.download(url, archive)
        download.check(archive, getattr(args, f"{part}_sha256"), url)
        download.extract(archive, part, args.out)
        if not args.keep_archives:
            archive.unlink()
    found = pets.read(args.out)
    print(f"{args.out}: {plural(len(found.trainval), 'photo')} in trainval.txt, {len(found.test)} in test.txt")
    return 0


def _sha256(text: str) -> str:
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a SHA-256: give 64 hexadecimal digits")
    return text.lower()
