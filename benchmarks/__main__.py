"""`make bench`: every measurement of this folder, on a drawn data set or on --data DIR in the official layout."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from local import draw

ROOT = Path(__file__).resolve().parent.parent
MXNET = ROOT / ".venvs" / "mxnet" / "bin" / "python"


def main() -> int:
    """Run them in turn; about fifteen minutes on 2 cores."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--data", type=Path, help="a data set in the official Oxford-IIIT Pet layout")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = Path(folder)
        data = arguments.data
        if data is None:
            data = work / "data"
            draw.data_set(data, 60, 15)
        for name in ("image-classification", "object-detection", "semantic-segmentation"):
            channels = work / name
            _run(sys.executable, "-m", "local", "prepare", name, "--data", data, "--out", channels)
            print(f"\nTraining, {name}: does it wait for its input?", flush=True)
            _run(MXNET, "-m", "benchmarks.training_input", name, "--channels", channels)
        print("\nServing: ResNet-50 at 224 pixels, JPEG in, JSON out", flush=True)
        model = work / "resnet50"
        _run(MXNET, "-m", "benchmarks.untrained", "--layers", "50", "--out", model)
        photo = min((work / "image-classification" / "validation").rglob("*.jpg"))
        _run(sys.executable, "benchmarks/serving_load.py", "--model-dir", model, "--images", photo)
    return 0


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
