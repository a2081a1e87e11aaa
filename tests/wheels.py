"""A tiny package that pip can install without a network."""

import zipfile
from pathlib import Path


def write_tiny(folder: Path) -> str:
    """Write a wheel of the package `tiny` into `folder`. Return its line for requirements.txt."""
    file = "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder / file, "w") as wheel:
        wheel.writestr("tiny.py", "NAME = 'installed'\n")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    return f"./{file}\n"
