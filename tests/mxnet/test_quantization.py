"""quantize=int8 on small graphs, from quantization to the decision, with predictions from the server's code."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from serve import artifact, preprocess
from serve.artifact import FLOAT32, INT8, MODEL_INT8, MODEL_JSON, MODEL_ONNX, Artifact, InputSpec
from serve.machine import has_vnni
from tests.environments import REPOSITORY, python
from tests.jobs import CLASSES, stripes
from tests.mxnet.batches import log_lines
from train import log
from train.data.samples import Sample
from train.job import stop
from train.quantization import __main__ as quantization
from train.quantization import quantizer, sensitivity, workflow
from train.quantization.workflow import Reference, Request
from train.verify import predict_with_server

SIDE = 24
WIDTH = 8
SPEC = InputSpec("data", 3, SIDE, SIDE, SIDE, "crop", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
PER_TENSOR = ("--per-tensor",)
QEMU = "qemu-x86_64-static"  # Debian's qemu-user-static


def graph(ruined: Sequence[int] = (), norm: bool = False) -> onnx.ModelProto:
    """Return a classifier of three convolutions and a Gemm with random weights. Its nodes have no names.

    In each layer of `ruined`, the first channel has huge weights and is always 0 after the Relu. One scale for the
    whole layer then rounds the other channels to 0. With `norm`, a Mul and an Add follow the first convolution.
    """
    rng = np.random.default_rng(1)
    weights: dict[str, np.ndarray] = {}
    nodes, last, channels = [], "data", 3
    for layer in range(3):
        w = rng.normal(0, (9 * channels) ** -0.5, (WIDTH, channels, 3, 3))
        b = rng.normal(0, 0.1, WIDTH)
        if layer in ruined:
            w[0] *= 2000
            b[0] = -1e6
        weights |= {f"w{layer}": w, f"b{layer}": b}
        nodes.append(helper.make_node("Conv", [last, f"w{layer}", f"b{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        last = f"c{layer}"
        if norm and layer == 0:
            weights |= {"scale": rng.uniform(0.1, 3, (1, WIDTH, 1, 1)), "shift": rng.normal(0, 0.1, (1, WIDTH, 1, 1))}
            nodes += [helper.make_node("Mul", [last, "scale"], ["m"]), helper.make_node("Add", ["m", "shift"], ["a"])]
            last = "a"
        nodes.append(helper.make_node("Relu", [last], [f"r{layer}"]))
        last, channels = f"r{layer}", WIDTH
    weights |= {"w": np.zeros((WIDTH, 3)), "b": np.zeros(3)}
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
            [helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, ["N", 3])],
            [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    fit_gemm(model)
    return model


def fit_gemm(model: onnx.ModelProto) -> None:
    """Set the Gemm so that it classifies by the distance of the features from the mean features of each class."""
    rng = np.random.default_rng(2)
    photos = [preprocess.to_tensor(stripes(number % 3, rng, SIDE), SPEC) for number in range(60)]
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    seen.graph.output.append(helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    features = session.run(["flat"], {"data": np.stack(photos)})[0].astype(np.float64)
    means = np.stack([features[label::3].mean(axis=0) for label in range(3)])
    steep = 20 / np.square(means[0] - means[1]).sum()
    for tensor in model.graph.initializer:
        if tensor.name in ("w", "b"):
            value = steep * (means.T if tensor.name == "w" else -np.square(means).sum(axis=1) / 2)
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))


def written(folder: Path, model: onnx.ModelProto) -> Path:
    """Write the artifact of a graph to `folder` and return it."""
    folder.mkdir()
    onnx.save(model, str(folder / MODEL_ONNX))
    artifact.write(Artifact("image-classification", "small", CLASSES, SPEC, "softmax"), folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Sample[None]]:
    """140 photos of striped patterns."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(3)
    samples = []
    for number in range(140):
        path = folder / f"{number}.png"
        stripes(number % 3, rng, SIDE).save(path)
        samples.append(Sample(path.name, None, path))
    return samples


def reference(folder: Path, files: Sequence[Sample[None]]) -> Reference:
    """Return the float graph's predictions, which count as correct."""
    predictions = predict_with_server(folder, files)
    truth = [int(prediction.argmax()) for prediction in predictions]

    def accuracy(outputs: list[np.ndarray]) -> float:
        return float(np.mean([output.argmax() == label for output, label in zip(outputs, truth, strict=True)]))

    return Reference(files, predictions, len(files), accuracy)


def quantized(folder: Path, photos: list[Sample[None]], validation: int = 60, **options: Any) -> tuple[bool, list[str]]:
    """Quantize the model in `folder`. Return whether int8 serves, and the log lines."""
    with log_lines() as lines:
        request = Request(photos[validation:], photos[:validation], seed=0, tolerance=0.01, **options)
        kept = workflow.quantize(folder, reference(folder, photos[:validation]), request)
    return kept, list(lines)


def layers(path: Path) -> dict[str, str]:
    """Return the operators of the int8 layers by the original names of their weights."""
    quantized_graph = onnx.load(str(path)).graph
    from_integers = {
        node.output[0]: node.input[0] for node in quantized_graph.node if node.op_type == "DequantizeLinear"
    }
    weighted = [node for node in quantized_graph.node if node.op_type in quantizer.LAYERS]
    return {
        from_integers[node.input[1]].removesuffix("_quantized"): node.op_type
        for node in weighted
        if node.input[1] in from_integers
    }


class Quantized(NamedTuple):
    """A model with a serving int8 graph: its folder, the original float graph, and the log."""

    folder: Path
    float_graph: bytes
    lines: list[str]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, photos: list[Sample[None]]) -> Quantized:
    """The default graph, quantized."""
    folder = written(tmp_path_factory.mktemp("made") / "model", graph())
    before = (folder / MODEL_ONNX).read_bytes()
    kept, lines = quantized(folder, photos)
    assert kept
    return Quantized(folder, before, lines)


def test_an_int8_graph_with_equal_predictions_serves_and_the_float_graph_stays(plain: Quantized) -> None:
    assert (plain.folder / MODEL_ONNX).read_bytes() == plain.float_graph
    quantization_info = artifact.read(plain.folder).quantization
    assert (quantization_info.serves, quantization_info.reduce_range) == (INT8, True)
    (trial,) = quantization_info.report["tries"]
    assert trial["kept"]
    assert trial["score"] == {"float32": 1.0, "int8": trial["score"]["int8"], "photos": 60, "tolerance": 0.01}
    assert trial["bytes"] == (plain.folder / MODEL_INT8).stat().st_size
    assert quantization_info.report["float_bytes"] == len(plain.float_graph)
    assert quantization_info.report["images"] == trial["agreements"][1]["count"] == 60
    assert layers(plain.folder / MODEL_INT8) == {"w0": "Conv", "w1": "Conv", "w2": "Conv"}  # the Gemm stays float


def test_the_log_has_scores_agreement_and_decision(plain: Quantized) -> None:
    (trial,) = artifact.read(plain.folder).quantization.report["tries"]
    assert plain.lines[0] == "Quantizing to int8, calibrated on 80 training images, seed 0"
    assert plain.lines[1].startswith(
        f"int8 compared with float: validation score {trial['score']['int8']:.4f} instead of 1.0000, "
    )
    assert f"; same predictions where float is confident {trial['agreements'][0]['value']:.4f} (of " in plain.lines[1]
    assert plain.lines[2:] == [
        "int8 is accepted: model.int8.onnx will be served; set VISION_PRECISION=float32 to serve model.onnx"
    ]


def test_weights_have_one_scale_per_channel_and_seven_bits(plain: Quantized) -> None:
    tensors = onnx.load(str(plain.folder / MODEL_INT8)).graph.initializer
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}
    for name in ("w0", "w1", "w2"):
        assert arrays[f"{name}_scale"].shape == (WIDTH,)
        assert arrays[f"{name}_quantized"].dtype == np.int8
        assert np.abs(arrays[f"{name}_quantized"].astype(int)).max() in (63, 64)


def test_the_same_seed_gives_the_same_graph(plain: Quantized, tmp_path: Path, photos: list[Sample[None]]) -> None:
    folder = written(tmp_path / "model", graph())
    quantized(folder, photos)
    assert (folder / MODEL_INT8).read_bytes() == (plain.folder / MODEL_INT8).read_bytes()


def test_a_layer_that_int8_ruins_stays_float_in_a_second_graph(tmp_path: Path, photos: list[Sample[None]]) -> None:
    folder = written(tmp_path / "model", graph(ruined=[1]))
    kept, lines = quantized(folder, photos, options=PER_TENSOR)
    assert kept
    first, second = artifact.read(folder).quantization.report["tries"]
    assert (first["kept"], second["kept"]) == (False, True)
    assert first["score"]["int8"] < 0.9
    assert "int8 is rejected: validation score 0." in lines[2]
    assert lines[3] == f"Scanned 3 of 3 layers in int8, one at a time; kept in float: {second['float_layers'][0]}"
    assert layers(folder / MODEL_INT8).keys() == {"w0", "w2"}


def test_scales_per_channel_avoid_the_ruined_layer(tmp_path: Path, photos: list[Sample[None]]) -> None:
    folder = written(tmp_path / "model", graph(ruined=[1]))
    assert quantized(folder, photos)[0]
    assert layers(folder / MODEL_INT8).keys() == {"w0", "w1", "w2"}


def test_float_serves_after_two_rejected_graphs(tmp_path: Path, photos: list[Sample[None]]) -> None:
    folder = written(tmp_path / "model", graph(ruined=[0, 1, 2]))
    kept, lines = quantized(folder, photos, options=PER_TENSOR)
    assert not kept
    assert not (folder / MODEL_INT8).exists()
    quantization_info = artifact.read(folder).quantization
    assert quantization_info.serves == FLOAT32
    assert [trial["kept"] for trial in quantization_info.report["tries"]] == [False, False]
    assert lines[-1] == "quantize=int8: model.onnx will be served, because no int8 graph passed"


def test_training_photos_are_also_compared_if_there_are_fewer_than_fifty_validation_photos(
    tmp_path: Path, photos: list[Sample[None]]
) -> None:
    folder = written(tmp_path / "model", graph())
    kept, lines = quantized(folder, photos, validation=30)
    assert kept
    (trial,) = artifact.read(folder).quantization.report["tries"]
    assert trial["score"]["photos"] == 30
    assert trial["agreements"][1]["count"] == 50
    assert "int8 is also compared on 20 further images, without ground truth" in lines


def headless() -> onnx.ModelProto:
    """Return a Gemm on the mean colour, so the only layer is the last one."""
    model = graph()
    del model.graph.node[0:6]
    model.graph.node[0].input[0] = "data"
    for tensor in model.graph.initializer:
        if tensor.name == "w":
            tensor.CopyFrom(numpy_helper.from_array(np.eye(3, dtype=np.float32) * 20, "w"))
    return model


def test_a_graph_without_layers_to_quantize_is_not_changed(tmp_path: Path, photos: list[Sample[None]]) -> None:
    folder = written(tmp_path / "model", headless())
    described = (folder / MODEL_JSON).read_bytes()
    kept, lines = quantized(folder, photos)
    assert not kept
    assert (folder / MODEL_JSON).read_bytes() == described
    assert lines[-1].startswith(
        "quantize=int8: model.onnx will be served, because there is no int8 graph: the quantizer failed with"
    )
    assert lines[-1].endswith("the graph has no layers except its last ones, so there is nothing to quantize")


def test_a_stopped_job_does_not_quantize(
    tmp_path: Path, photos: list[Sample[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "model", graph())
    monkeypatch.setitem(stop._state, "requested", True)
    kept, lines = quantized(folder, photos)
    assert not kept
    assert artifact.read(folder).quantization.report["tries"] == []
    assert "Asked to stop: skipping int8" in lines


# ---- existing models ---------------------------------------------------------------------------------------------


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[int, list[str]]:
    """Run `python -m train.quantization` in this process and return its exit code and log."""
    monkeypatch.setattr(sys, "argv", ["train.quantization", *map(str, arguments)])
    monkeypatch.setattr(log, "configure", lambda: None)
    with log_lines() as lines:
        code = quantization.main()
    return code, list(lines)


def test_an_existing_model_can_be_quantized_twice(
    tmp_path: Path, photos: list[Sample[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "model", graph())
    for _ in range(2):  # the second time, model.json names an int8 graph
        code, lines = command(monkeypatch, folder, "--calibrate", photos[0].path.parent)
        assert code == 0
        assert lines[0] == "Quantizing to int8, calibrated on 46 training images, seed 0"
        quantization_info = artifact.read(folder).quantization
        (trial,) = quantization_info.report["tries"]
        assert (quantization_info.serves, trial["score"], quantization_info.report["images"]) == (INT8, None, 94)
        assert trial["agreements"][1]["count"] == 94


def test_the_exit_code_is_1_if_no_int8_graph_passes(
    tmp_path: Path, photos: list[Sample[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "model", headless())
    code, lines = command(monkeypatch, folder, "--calibrate", photos[0].path.parent)
    assert code == 1
    assert "there is nothing to quantize" in lines[-1]


def test_user_errors_name_the_fix(tmp_path: Path, photos: list[Sample[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "model", graph())
    few = tmp_path / "few"
    few.mkdir()
    for sample in photos[:3]:
        shutil.copy(sample.path, few)
    (few / "broken.jpg").write_bytes(b"no image")
    code, lines = command(monkeypatch, folder, "--calibrate", few)
    assert code == 2
    assert lines[0].startswith(f"{few / 'broken.jpg'} is left out because it is not an image")
    assert lines[1] == (
        f"--calibrate {few} has 3 readable images but needs at least 50: add more photos, like those that "
        "the model was trained on"
    )
    assert command(monkeypatch, folder, "--calibrate", tmp_path / "none")[1] == [
        f"--calibrate {tmp_path / 'none'} is not a folder: set it to a folder of photos like the training photos"
    ]
    assert command(monkeypatch, tmp_path, "--calibrate", few)[0] == 2


# ---- the graph ---------------------------------------------------------------------------------------------------


def test_a_separate_normalisation_is_folded_into_the_preceding_layer(tmp_path: Path) -> None:
    onnx.save(graph(norm=True), str(tmp_path / "loose.onnx"))
    quantizer.fold(tmp_path / "loose.onnx", tmp_path / "folded.onnx")
    nodes = onnx.load(str(tmp_path / "folded.onnx")).graph.node
    assert [node.op_type for node in nodes][:3] == ["Conv", "Relu", "Conv"]


def test_every_node_gets_a_unique_name(tmp_path: Path) -> None:
    onnx.save(graph(), str(tmp_path / "model.onnx"))
    quantizer.fold(tmp_path / "model.onnx", tmp_path / "folded.onnx")
    names = [node.name for node in onnx.load(str(tmp_path / "folded.onnx")).graph.node]
    assert "" not in names
    assert len(set(names)) == len(names) == 10


def test_the_last_layers_and_later_nodes_stay_float(tmp_path: Path) -> None:
    onnx.save(graph(), str(tmp_path / "model.onnx"))
    quantizer.fold(tmp_path / "model.onnx", tmp_path / "folded.onnx")
    plan = quantizer.plan(tmp_path / "folded.onnx")
    assert [name.partition("_")[0] for name in plan.layers] == ["Conv"] * 3
    assert plan.ends == ("logits",)
    assert {name.partition("_")[0] for name in plan.nodes} == {"Conv", "Relu", "GlobalAveragePool", "Flatten"}


@pytest.mark.parametrize(
    ("errors", "kept_float"),
    [
        ({"a": 1.0, "b": 8.0, "c": 1.0, "d": 1.0}, ["b"]),
        (dict.fromkeys("abcdefgh", 1.0), ["a", "b"]),  # at most a quarter of the layers
        ({"a": 3.0, "b": 0.1, "c": 0.1, "d": 0.1, "e": 4.0, "f": 0.1, "g": 0.1, "h": 0.1}, ["e"]),
        ({"a": 1.0}, ["a"]),
        ({"a": 0.0, "b": 0.0}, ["a"]),
    ],
)
def test_the_fewest_layers_with_half_of_the_error_stay_float(errors: dict[str, float], kept_float: list[str]) -> None:
    assert sensitivity.worst(errors) == kept_float


# ---- other processors --------------------------------------------------------------------------------------------


def served(folder: Path, photos: Sequence[Sample[None]], work: Path, emulator: Sequence[str] = ()) -> list[np.ndarray]:
    """Return the predictions of the server's code for photos, computed on an emulated processor if given."""
    work.mkdir()
    np.save(work / "tensors.npy", np.empty((0, 3, SIDE, SIDE), np.float32))
    (work / "files.json").write_text(json.dumps([str(sample.path) for sample in photos]))
    command = [*emulator, python("serve"), "-m", "serve.engine.check", "--model-dir", folder, "--work", work]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    with np.load(work / "file_outputs.npz") as outputs:
        return [outputs[str(number)] for number in range(len(photos))]


@pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"{QEMU} is not installed: install Debian's qemu-user-static")
def test_a_processor_without_vnni_gives_bit_identical_predictions(
    plain: Quantized, tmp_path: Path, photos: list[Sample[None]]
) -> None:
    """Haswell has only AVX2, which limits the sum of two products to 16 bits."""
    here = served(plain.folder, photos[:4], tmp_path / "here")
    there = served(plain.folder, photos[:4], tmp_path / "there", (QEMU, "-cpu", "Haswell"))
    for native, emulated in zip(here, there, strict=True):
        np.testing.assert_array_equal(native, emulated)


@pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"{QEMU} is not installed: install Debian's qemu-user-static")
@pytest.mark.skipif(not has_vnni(), reason="this processor has no VNNI either")
def test_the_emulated_processor_saturates_sums_for_eight_bit_weights(
    tmp_path: Path, photos: list[Sample[None]]
) -> None:
    """This proves that the test above can fail. All weights are equal, so they have the largest 8-bit value."""
    model = graph()
    for tensor in model.graph.initializer:
        if tensor.name in ("w0", "w1"):
            array = np.abs(numpy_helper.to_array(tensor)).max() * np.ones_like(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    fit_gemm(model)
    folder = written(tmp_path / "model", model)
    workflow.quantize(folder, reference(folder, photos[:60]), Request(photos[60:], (), 0, 1.0, ("--full-range",)))
    described = artifact.read(folder)
    assert described.quantization.serves == INT8
    reduced = replace(described.quantization, reduce_range=True)  # otherwise the float graph would serve there
    artifact.write(replace(described, quantization=reduced), folder)
    here = np.stack(served(folder, photos[:4], tmp_path / "here"))
    there = np.stack(served(folder, photos[:4], tmp_path / "there", (QEMU, "-cpu", "Haswell")))
    assert np.abs(here - there).max() > 0.01
