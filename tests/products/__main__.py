"""`python -m tests.products NAME` makes a product in a new folder, and renames the folder when it is complete."""

import importlib
import shutil
import sys
import tempfile
from pathlib import Path

from tests.products import PRODUCTS


def main(name: str) -> None:
    """Make the product. The previous one stays until the new one is complete."""
    module = importlib.import_module(f"tests.products.{name}")
    if Path(sys.prefix).name != module.ENVIRONMENT:
        sys.exit(f"{name} must be made in .venvs/{module.ENVIRONMENT}, not in {sys.prefix}")
    PRODUCTS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=PRODUCTS))
    try:
        module.make(folder)
        (folder / ".made").touch()
        shutil.rmtree(PRODUCTS / name, ignore_errors=True)
        folder.rename(PRODUCTS / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
