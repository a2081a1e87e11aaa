"""`python3 -m local quantize` on folders and archives, with a stand-in for the quantizer's environment."""

import argparse
import sys
import tarfile
from pathlib import Path

import pytest

from local.commands import quantize
from local.errors import CommandFailed, UserError

# Runs in place of `python -m train.quantization FOLDER --calibrate DIR --seed N`.
STAND_IN = """#!{python}
import json, pathlib, sys
module, folder, *rest = sys.argv[2:]
pathlib.Path(folder, "arguments.json").write_text(json.dumps(rest))
code = int(pathlib.Path(rest[1], "code").read_text())
if code == 0:
    pathlib.Path(folder, "model.int8.onnx").write_text("integers")
sys.exit(code)
"""


@pytest.fixture
def args(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """Arguments for a model folder and photos. The stand-in exits with the code in the photos' file `code`."""
    for name in ("mxnet", "serve"):
        python = tmp_path / "envs" / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(STAND_IN.format(python=sys.executable))
        python.chmod(0o755)
    monkeypatch.setattr(quantize, "ENVIRONMENTS", tmp_path / "envs")
    for name, file, text in (("model", "model.json", "{}"), ("photos", "code", "0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(text)
    parser = argparse.ArgumentParser()
    quantize.add_arguments(parser)
    return parser.parse_args([str(tmp_path / "model"), "--calibrate", str(tmp_path / "photos"), "--seed", "3"])


def pack(folder: Path) -> Path:
    """Pack a folder into model.tar.gz and return its path."""
    path = folder.parent / "model.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file in folder.iterdir():
            archive.add(file, file.name)
    return path


def names(path: Path) -> set[str]:
    """Return the names in an archive."""
    with tarfile.open(path) as archive:
        return set(archive.getnames())


def test_a_folder_is_quantized_in_place(args: argparse.Namespace) -> None:
    assert quantize.run(args) == 0
    assert (args.model / "model.int8.onnx").exists()
    assert (args.model / "arguments.json").read_text() == f'["--calibrate", "{args.calibrate}", "--seed", "3"]'


def test_the_quantized_graph_is_added_to_an_archive(args: argparse.Namespace) -> None:
    args.model = pack(args.model)
    assert quantize.run(args) == 0
    assert names(args.model) == {"model.json", "model.int8.onnx", "arguments.json"}
    assert {path.name for path in args.model.parent.iterdir()} == {"envs", "model", "photos", "model.tar.gz"}


def test_an_archive_is_not_changed_if_no_graph_passes(args: argparse.Namespace) -> None:
    (args.calibrate / "code").write_text("1")
    args.model = pack(args.model)
    before = args.model.read_bytes()
    with pytest.raises(CommandFailed, match=r"model\.tar\.gz was not quantized and still serves the float graph"):
        quantize.run(args)
    assert args.model.read_bytes() == before


def test_mistakes_of_the_user_are_user_errors(args: argparse.Namespace) -> None:
    (args.calibrate / "code").write_text("2")
    with pytest.raises(UserError, match="model cannot be quantized"):
        quantize.run(args)
    args.model = args.calibrate / "code"
    with pytest.raises(UserError, match=r"code is not a folder and cannot be read as a model\.tar\.gz"):
        quantize.run(args)
    args.model = args.calibrate / "none"
    with pytest.raises(UserError, match="none is not a folder and cannot be read as"):
        quantize.run(args)


def test_without_the_quantizers_environment_the_error_says_what_to_run(
    args: argparse.Namespace, tmp_path: Path
) -> None:
    (tmp_path / "envs" / "mxnet" / "bin" / "python").unlink()
    with pytest.raises(UserError, match="run `make envs`"):
        quantize.run(args)
