"""The model folder: descriptions are read back as written, and invalid ones are rejected with the file and the key."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve import artifact
from serve.artifact import FLOAT32, INT8, Artifact, ArtifactError, InputSpec, Nms, Quantization
from tests.environments import REPOSITORY

SPEC = InputSpec("data", 3, 224, 200, 256, "crop", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PETS = Artifact("image-classification", "resnet18", ("Bengal", "pug"), SPEC, "softmax", {"epochs": 3}, {"a": 0.5}, {})
SQUARE = replace(SPEC, height=300, width=300, resize=300, rule="stretch")
DETECTOR = Artifact("object-detection", "resnet50", ("cat", "dog"), SQUARE, "boxes", nms=Nms(0.45, 400, 0.01))
PADDED = replace(SPEC, height=520, width=520, resize=520, rule="pad")
TRIMAPS = Artifact("semantic-segmentation", "fcn_resnet50", ("pet", "background", "border"), PADDED, "logits")

finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
sizes = st.integers(1, 4000)
json_objects = st.dictionaries(st.text(), st.one_of(st.text(), finite, st.integers(), st.booleans(), st.none()))


@st.composite
def specs(draw: st.DrawFn, rules: tuple[str, ...]) -> InputSpec:
    channels, height, width = draw(st.sampled_from([1, 3])), draw(sizes), draw(sizes)
    margin = draw(st.integers(0, 100))
    if "pad" in rules:
        height = width = artifact.SIDE_STEP * width
        margin = 0
    per_channel = {"min_size": channels, "max_size": channels}
    return InputSpec(
        name=draw(st.text()),
        channels=channels,
        height=height,
        width=width,
        resize=max(height, width) + margin,
        rule=draw(st.sampled_from(rules)),
        mean=tuple(draw(st.lists(st.floats(-1000, 1000, width=32), **per_channel))),
        std=tuple(draw(st.lists(st.floats(0.0009765625, 1000, width=32), **per_channel))),
    )


fractions = st.floats(0, 1)
quantizations = st.builds(
    Quantization, serves=st.sampled_from((FLOAT32, INT8)), reduce_range=st.booleans(), report=json_objects
)
nms = st.builds(Nms, threshold=fractions, top_k=st.integers(1, artifact.MAX_TOP_K), score_floor=fractions)


@st.composite
def artifacts(draw: st.DrawFn) -> Artifact:
    task = draw(st.sampled_from(artifact.TASKS))
    detects = task == "object-detection"
    fewest, most = artifact.SEGMENTATION_CLASSES if task == "semantic-segmentation" else (1, None)
    return Artifact(
        task=task,
        network=draw(st.text()),
        class_names=tuple(draw(st.lists(st.text(), min_size=fewest, max_size=most))),
        input=draw(specs(artifact.RULES[task])),
        output=draw(st.sampled_from(artifact.OUTPUTS[task])),
        hyperparameters=draw(json_objects),
        metrics=draw(json_objects),
        versions=draw(json_objects),
        nms=draw(nms) if detects else None,
        quantization=draw(st.none() | quantizations),
    )


@given(written=artifacts())
def test_a_description_is_read_back_as_written(tmp_path_factory: pytest.TempPathFactory, written: Artifact) -> None:
    folder = tmp_path_factory.mktemp("model")
    (folder / artifact.MODEL_ONNX).touch()
    (folder / artifact.MODEL_INT8).touch()
    artifact.write(written, folder)
    assert artifact.read(folder) == written


def test_the_file_holds_what_other_programs_need(tmp_path: Path) -> None:
    path = artifact.write(PETS, tmp_path / "new" / "model")
    assert path == tmp_path / "new" / "model" / "model.json"
    document = json.loads(path.read_text())
    assert document["format_version"] == 1
    assert document["input"]["colour"] == "RGB"
    assert document["class_names"] == ["Bengal", "pug"]
    assert not {"nms", "quantization"} & document.keys()
    detector = json.loads(artifact.write(DETECTOR, tmp_path).read_text())
    assert detector["nms"] == {"threshold": 0.45, "top_k": 400, "score_floor": 0.01}


def test_every_user_can_read_the_file_and_no_temporary_file_is_left(tmp_path: Path) -> None:
    path = artifact.write(PETS, tmp_path)
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        (replace(PETS, metrics={"accuracy": float("nan")}), "finite"),
        (replace(PETS, hyperparameters={"path": Path("x")}), "JSON"),
        (replace(PETS, class_names=()), "class_names"),
        (replace(PETS, output="logits"), "'softmax' or 'sigmoid'"),
        (replace(PETS, input=replace(SPEC, resize=199)), "input.resize is 199; it must be at least 200"),
        (replace(PETS, input=replace(SPEC, channels=2)), "input.channels is 2"),
        (replace(PETS, nms=DETECTOR.nms), "nms is .*; it must be left out: the task is image-classification"),
        (replace(PETS, quantization=Quantization("int4", True, {})), "quantization.serves is 'int4'; it must be"),
        (replace(PETS, quantization=Quantization(INT8, 7, {})), "quantization.reduce_range is 7; it must be true or"),
        (replace(PETS, output="boxes"), "output is 'boxes'; it must be 'softmax' or 'sigmoid'"),
        (replace(DETECTOR, output="softmax"), "output is 'softmax'; it must be 'boxes'"),
        (replace(DETECTOR, nms=None), "the key nms is missing"),
        (replace(DETECTOR, input=replace(SQUARE, rule="crop")), "input.rule is 'crop'; it must be 'stretch'"),
        (replace(DETECTOR, nms=Nms(45, 400, 0.01)), "nms.threshold is 45; it must be a number from 0 to 1"),
        (replace(DETECTOR, nms=Nms(0.45, 0, 0.01)), "nms.top_k is 0; it must be a whole number from 1 to 2000"),
        (replace(DETECTOR, nms=Nms(0.45, 400, "0.01")), "nms.score_floor is '0.01'; it must be a number from 0 to 1"),
        (replace(PETS, input=replace(SPEC, rule="pad")), "input.rule is 'pad'; it must be 'crop' or 'stretch'"),
        (replace(TRIMAPS, output="softmax"), "output is 'softmax'; it must be 'logits'"),
        (replace(TRIMAPS, nms=DETECTOR.nms), "nms is .*; it must be left out: the task is semantic-segmentation"),
        (replace(TRIMAPS, input=replace(PADDED, rule="stretch")), "input.rule is 'stretch'; it must be 'pad'"),
        (replace(TRIMAPS, input=replace(PADDED, resize=524)), "input.resize is 524; it must be a multiple of 8"),
        (replace(TRIMAPS, input=replace(PADDED, height=512)), "input.height is 512; it must be 520, the same as"),
        (replace(TRIMAPS, input=replace(PADDED, width=528)), "input.width is 528; it must be 520, the same as resize"),
        (replace(TRIMAPS, class_names=("pet",)), "class_names has 1 name, but the task .* needs 2 to 254"),
        (replace(TRIMAPS, class_names=("x",) * 255), "class_names has 255 names, but the task .* needs 2 to 254"),
    ],
)
def test_an_invalid_description_is_never_written(tmp_path: Path, invalid: Artifact, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        artifact.write(invalid, tmp_path)
    assert list(tmp_path.iterdir()) == []


def _write_model(folder: Path, written: Artifact = PETS) -> dict[str, Any]:
    """Write a valid model folder, and return the content of its model.json."""
    (folder / artifact.MODEL_ONNX).touch()
    return json.loads(artifact.write(written, folder).read_text())


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format_version",), 2, "format_version is 2, but this server reads 1"),
        (("format_version",), "1", "format_version is '1'; it must be of type int"),
        (("task",), "poetry", "task is 'poetry'; it must be 'image-classification' or 'object-detection'"),
        (("class_names",), [], "class_names"),
        (("class_names",), [1, 2], "class_names"),
        (("output",), 3, "output is 3; it must be of type str"),
        (("input",), [], r"input is \[\]"),
        (("input", "channels"), 4, "input.channels is 4; it must be 1 or 3"),
        (("input", "channels"), True, "input.channels is True"),
        (("input", "colour"), "BGR", "input.colour is 'BGR'; it must be 'RGB'"),
        (("input", "height"), 0, "input.height is 0"),
        (("input", "rule"), "squeeze", "input.rule is 'squeeze'; it must be 'crop' or 'stretch'"),
        (("input", "mean"), [0.5], "input.mean"),
        (("input", "mean"), [0.5, 0.5, "0.5"], "input.mean"),
        (
            ("input", "mean"),
            [0.5, 0.5, float("nan")],
            r"input.mean is \[0.5, 0.5, nan\]; it must be a list of 3 numbers",
        ),
        (("input", "mean"), [0.5, float("-inf"), 0.5], "input.mean"),
        (("input", "std"), [0.5, 0, 0.5], r"input.std is .*; it must be a list of 3 numbers from 1e-06 to 1000"),
        (("input", "std"), [0.5, 1e-30, 0.5], "input.std"),
        (("input", "std"), [0.5, float("inf"), 0.5], "input.std"),
    ],
)
def test_an_invalid_value_is_reported_with_its_file_and_key(
    tmp_path: Path, path: tuple[str, ...], value: object, message: str
) -> None:
    document = _write_model(tmp_path)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=f"model.json: {message}"):
        artifact.read(tmp_path)


def test_every_missing_key_is_reported(tmp_path: Path) -> None:
    document = _write_model(tmp_path, DETECTOR)
    for holder, prefix in ((document, ""), (document["input"], "input."), (document["nms"], "nms.")):
        for key in list(holder):
            value = holder.pop(key)
            (tmp_path / "model.json").write_text(json.dumps(document))
            with pytest.raises(ArtifactError, match=f"the key {prefix}{key} is missing"):
                artifact.read(tmp_path)
            holder[key] = value
    (tmp_path / "model.json").write_text(json.dumps(document))
    assert artifact.read(tmp_path) == DETECTOR


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "is not JSON"), (b"\xff\xfe", "cannot be read"), (b"[1]", "must contain a JSON object")],
)
def test_a_file_that_is_not_a_description_is_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=f"model.json .*{message}|model.json {message}"):
        artifact.read(tmp_path)


def test_a_missing_file_is_reported_with_the_folders_contents(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"model.json is missing: the folder does not exist"):
        artifact.read(tmp_path / "model")
    with pytest.raises(ArtifactError, match=r"model.json is missing: the folder is empty"):
        artifact.read(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ArtifactError, match=r"model.json is missing: the folder contains saved_model.pb"):
        artifact.read(tmp_path)
    artifact.write(PETS, tmp_path)
    with pytest.raises(ArtifactError, match=r"model.onnx, which model.json needs, is missing"):
        artifact.read(tmp_path)


def test_reading_and_writing_artifacts_needs_only_the_standard_library() -> None:
    code = (
        "import sys, serve.artifact\n"
        "foreign = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "print(sorted(foreign - {'__main__', 'serve'}))"
    )
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{code}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.tar.gz", "Unpack the archive: tar xzf model.tar.gz -C {folder}."),
        (".earlier-model/model.json", "move the earlier one back from {folder}/.earlier-model."),
        ("model.h5", "Unpack the model.tar.gz of a training job there, or add a script's model.keras"),
    ],
)
def test_the_error_about_a_folder_without_a_model_says_what_to_put_there(
    tmp_path: Path, name: str, message: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(ArtifactError, match=re.escape(message.format(folder=tmp_path))):
        artifact.read(tmp_path)
