"""quantize=int8 on small graphs, from the quantiser to the decision; the answers are those of the server's own code."""

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
from train.quantization import closing, quantizer, sensitivity
from train.quantization.closing import Reference, Request
from train.verify import predict_with_server

SIDE = 24
WIDTH = 8
SPEC = InputSpec("data", 3, SIDE, SIDE, SIDE, "crop", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
PER_TENSOR = ("--per-tensor",)
QEMU = "qemu-x86_64-static"  # Debian's qemu-user-static


def graph(ruined: Sequence[int] = (), norm: bool = False) -> onnx.ModelProto:
    """A classifier of three convolutions and a Gemm, its nodes without names, with weights of chance.

    In each of the layers `ruined` the first channel has huge weights and never gets through the Relu: one scale for the
    whole layer then leaves nothing of the other channels. With `norm` a Mul and an Add follow the first convolution.
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
    teach(model)
    return model


def teach(model: onnx.ModelProto) -> None:
    """Set the Gemm: the logit of a class falls with the distance of the features from their mean over its stripes."""
    rng = np.random.default_rng(2)
    photos = [preprocess.to_tensor(stripes(number % 3, rng, SIDE), SPEC) for number in range(60)]
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    seen.graph.output.append(helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    features = session.run(["flat"], {"data": np.stack(photos)})[0].astype(np.float64)
    means = np.stack([features[label::3].mean(axis=0) for label in range(3)])
    steep = 20 / np.square(means[0] - means[1]).sum()
    for each in model.graph.initializer:
        if each.name in ("w", "b"):
            value = steep * (means.T if each.name == "w" else -np.square(means).sum(axis=1) / 2)
            each.CopyFrom(numpy_helper.from_array(value.astype(np.float32), each.name))


def written(folder: Path, model: onnx.ModelProto) -> Path:
    """The artifact of a graph."""
    folder.mkdir()
    onnx.save(model, str(folder / MODEL_ONNX))
    artifact.write(Artifact("image-classification", "small", CLASSES, SPEC, "softmax"), folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Sample[None]]:
    """140 photos of stripes."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(3)
    samples = []
    for number in range(140):
        path = folder / f"{number}.png"
        stripes(number % 3, rng, SIDE).save(path)
        samples.append(Sample(path.name, None, path))
    return samples


def known(folder: Path, files: Sequence[Sample[None]]) -> Reference:
    """The float graph's answers, all of which are right."""
    answers = predict_with_server(folder, files)
    truth = [int(answer.argmax()) for answer in answers]

    def accuracy(found: list[np.ndarray]) -> float:
        return float(np.mean([answer.argmax() == label for answer, label in zip(found, truth, strict=True)]))

    return Reference(files, answers, len(files), accuracy)


def quantized(folder: Path, photos: list[Sample[None]], validation: int = 60, **options: Any) -> tuple[bool, list[str]]:
    """Quantise the model in `folder`: whether int8 serves, and the lines of the log."""
    with log_lines() as lines:
        request = Request(photos[validation:], photos[:validation], seed=0, tolerance=0.01, **options)
        kept = closing.quantize(folder, known(folder, photos[:validation]), request)
    return kept, list(lines)


def layers(path: Path) -> dict[str, str]:
    """By the name of a weight without what the quantiser has added: its layer's operator, for those in integers."""
    made = onnx.load(str(path)).graph
    from_integers = {node.output[0]: node.input[0] for node in made.node if node.op_type == "DequantizeLinear"}
    weighted = [node for node in made.node if node.op_type in quantizer.LAYERS]
    return {
        from_integers[node.input[1]].removesuffix("_quantized"): node.op_type
        for node in weighted
        if node.input[1] in from_integers
    }


class Made(NamedTuple):
    """A model that int8 serves: its folder, the float graph as it was before, and the log."""

    folder: Path
    float_graph: bytes
    lines: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, photos: list[Sample[None]]) -> Made:
    """The plain graph, quantised."""
    folder = written(tmp_path_factory.mktemp("made") / "model", graph())
    before = (folder / MODEL_ONNX).read_bytes()
    kept, lines = quantized(folder, photos)
    assert kept
    return Made(folder, before, lines)


def test_a_graph_that_answers_alike_serves_and_the_float_one_stays(made: Made) -> None:
    assert (made.folder / MODEL_ONNX).read_bytes() == made.float_graph
    found = artifact.read(made.folder).quantization
    assert (found.serves, found.reduce_range) == (INT8, True)
    (trial,) = found.report["tries"]
    assert trial["kept"]
    assert trial["score"] == {"float32": 1.0, "int8": trial["score"]["int8"], "photos": 60, "tolerance": 0.01}
    assert trial["bytes"] == (made.folder / MODEL_INT8).stat().st_size
    assert found.report["float_bytes"] == len(made.float_graph)
    assert found.report["images"] == trial["agreements"][1]["count"] == 60
    assert layers(made.folder / MODEL_INT8) == {"w0": "Conv", "w1": "Conv", "w2": "Conv"}  # and not the Gemm


def test_the_log_has_both_scores_the_agreements_and_the_decision(made: Made) -> None:
    (trial,) = artifact.read(made.folder).quantization.report["tries"]
    assert made.lines[0] == "Quantizing to int8, calibrated on 80 training images, seed 0"
    assert made.lines[1].startswith(f"int8 beside float: validation score {trial['score']['int8']:.4f} for 1.0000, ")
    assert f"; same answers where float is sure {trial['agreements'][0]['value']:.4f} (of " in made.lines[1]
    assert made.lines[2:] == ["int8 is kept: model.int8.onnx serves; VISION_PRECISION=float32 serves model.onnx"]


def test_weights_have_a_scale_for_each_channel_and_seven_bits(made: Made) -> None:
    found = onnx.load(str(made.folder / MODEL_INT8)).graph.initializer
    arrays = {each.name: numpy_helper.to_array(each) for each in found}
    for name in ("w0", "w1", "w2"):
        assert arrays[f"{name}_scale"].shape == (WIDTH,)
        assert arrays[f"{name}_quantized"].dtype == np.int8
        assert np.abs(arrays[f"{name}_quantized"].astype(int)).max() in (63, 64)


def test_the_same_seed_gives_the_same_graph(made: Made, tmp_path: Path, photos: list[Sample[None]]) -> None:
    folder = written(tmp_path / "model", graph())
    quantized(folder, photos)
    assert (folder / MODEL_INT8).read_bytes() == (made.folder / MODEL_INT8).read_bytes()


def test_one_scale_for_a_ruined_layer_is_refused_and_the_layer_stays_float_in_a_second_graph(
    tmp_path: Path, photos: list[Sample[None]]
) -> None:
    folder = written(tmp_path / "model", graph(ruined=[1]))
    kept, lines = quantized(folder, photos, options=PER_TENSOR)
    assert kept
    first, second = artifact.read(folder).quantization.report["tries"]
    assert (first["kept"], second["kept"]) == (False, True)
    assert first["score"]["int8"] < 0.9
    assert "int8 is refused: validation score 0." in lines[2]
    assert lines[3] == f"Scanned 3 of 3 layers alone in int8; left in float: {second['float_layers'][0]}"
    assert layers(folder / MODEL_INT8).keys() == {"w0", "w2"}


def test_of_a_ruined_layer_nothing_is_refused_where_each_channel_has_its_scale(
    tmp_path: Path, photos: list[Sample[None]]
) -> None:
    folder = written(tmp_path / "model", graph(ruined=[1]))
    assert quantized(folder, photos)[0]
    assert layers(folder / MODEL_INT8).keys() == {"w0", "w1", "w2"}


def test_after_two_refusals_float_serves_and_the_numbers_are_kept(tmp_path: Path, photos: list[Sample[None]]) -> None:
    folder = written(tmp_path / "model", graph(ruined=[0, 1, 2]))
    kept, lines = quantized(folder, photos, options=PER_TENSOR)
    assert not kept
    assert not (folder / MODEL_INT8).exists()
    found = artifact.read(folder).quantization
    assert found.serves == FLOAT32
    assert [trial["kept"] for trial in found.report["tries"]] == [False, False]
    assert lines[-1] == "quantize=int8: model.onnx serves, because no int8 graph has passed"


def test_below_fifty_validation_photos_answers_are_also_compared_on_training_photos(
    tmp_path: Path, photos: list[Sample[None]]
) -> None:
    folder = written(tmp_path / "model", graph())
    kept, lines = quantized(folder, photos, validation=30)
    assert kept
    (trial,) = artifact.read(folder).quantization.report["tries"]
    assert trial["score"]["photos"] == 30
    assert trial["agreements"][1]["count"] == 50
    assert "int8 is also compared on 20 further images without counting right answers" in lines


def headless() -> onnx.ModelProto:
    """A Gemm on the mean colour: its only layer is its last one."""
    model = graph()
    del model.graph.node[0:6]
    model.graph.node[0].input[0] = "data"
    for each in model.graph.initializer:
        if each.name == "w":
            each.CopyFrom(numpy_helper.from_array(np.eye(3, dtype=np.float32) * 20, "w"))
    return model


def test_a_graph_of_which_nothing_becomes_integers_is_left_alone(tmp_path: Path, photos: list[Sample[None]]) -> None:
    folder = written(tmp_path / "model", headless())
    described = (folder / MODEL_JSON).read_bytes()
    kept, lines = quantized(folder, photos)
    assert not kept
    assert (folder / MODEL_JSON).read_bytes() == described
    assert lines[-1].startswith("quantize=int8: model.onnx serves: there is no int8 graph: the quantiser failed with")
    assert lines[-1].endswith("the graph has no layer besides its last ones, so nothing becomes integers")


def test_a_job_that_was_asked_to_stop_does_not_quantise(
    tmp_path: Path, photos: list[Sample[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "model", graph())
    monkeypatch.setitem(stop._state, "requested", True)
    kept, lines = quantized(folder, photos)
    assert not kept
    assert artifact.read(folder).quantization.report["tries"] == []
    assert "Asked to stop: there is no time for int8" in lines


# ---- a model that exists -----------------------------------------------------------------------------------------


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[int, list[str]]:
    """The exit code and the log of `python -m train.quantization`, in this process."""
    monkeypatch.setattr(sys, "argv", ["train.quantization", *map(str, arguments)])
    monkeypatch.setattr(log, "configure", lambda: None)
    with log_lines() as lines:
        code = quantization.main()
    return code, list(lines)


def test_a_model_that_exists_is_quantised_and_again_when_asked_twice(
    tmp_path: Path, photos: list[Sample[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "model", graph())
    for _ in range(2):  # the second time its model.json names an int8 graph
        code, lines = command(monkeypatch, folder, "--calibrate", photos[0].path.parent)
        assert code == 0
        assert lines[0] == "Quantizing to int8, calibrated on 46 training images, seed 0"
        found = artifact.read(folder).quantization
        (trial,) = found.report["tries"]
        assert (found.serves, trial["score"], found.report["images"]) == (INT8, None, 94)
        assert trial["agreements"][1]["count"] == 94


def test_a_model_of_which_nothing_passes_is_an_exit_code(
    tmp_path: Path, photos: list[Sample[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "model", headless())
    code, lines = command(monkeypatch, folder, "--calibrate", photos[0].path.parent)
    assert code == 1
    assert "nothing becomes integers" in lines[-1]


def test_what_the_user_has_to_change_is_told(
    tmp_path: Path, photos: list[Sample[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "model", graph())
    few = tmp_path / "few"
    few.mkdir()
    for sample in photos[:3]:
        shutil.copy(sample.path, few)
    (few / "broken.jpg").write_bytes(b"no image")
    code, lines = command(monkeypatch, folder, "--calibrate", few)
    assert code == 2
    assert lines[0].startswith(f"{few / 'broken.jpg'}: left out: the image is not an image")
    assert lines[1] == (
        f"--calibrate {few} holds 3 images that can be read, it takes at least 50: give more photos, like those that "
        "the model was trained on"
    )
    assert command(monkeypatch, folder, "--calibrate", tmp_path / "none")[1] == [
        f"--calibrate {tmp_path / 'none'} is not a folder: give one with photos like those of training"
    ]
    assert command(monkeypatch, tmp_path, "--calibrate", few)[0] == 2


# ---- the graph ---------------------------------------------------------------------------------------------------


def test_a_loose_normalisation_becomes_part_of_the_layer_before_it(tmp_path: Path) -> None:
    onnx.save(graph(norm=True), str(tmp_path / "loose.onnx"))
    quantizer.fold(tmp_path / "loose.onnx", tmp_path / "folded.onnx")
    nodes = onnx.load(str(tmp_path / "folded.onnx")).graph.node
    assert [node.op_type for node in nodes][:3] == ["Conv", "Relu", "Conv"]


def test_every_node_gets_a_name_of_its_own(tmp_path: Path) -> None:
    onnx.save(graph(), str(tmp_path / "model.onnx"))
    quantizer.fold(tmp_path / "model.onnx", tmp_path / "folded.onnx")
    names = [node.name for node in onnx.load(str(tmp_path / "folded.onnx")).graph.node]
    assert "" not in names
    assert len(set(names)) == len(names) == 10


def test_the_last_layers_and_what_follows_them_stay_float(tmp_path: Path) -> None:
    onnx.save(graph(), str(tmp_path / "model.onnx"))
    quantizer.fold(tmp_path / "model.onnx", tmp_path / "folded.onnx")
    plan = quantizer.plan(tmp_path / "folded.onnx")
    assert [name.partition("_")[0] for name in plan.layers] == ["Conv"] * 3
    assert plan.ends == ("logits",)
    assert {name.partition("_")[0] for name in plan.nodes} == {"Conv", "Relu", "GlobalAveragePool", "Flatten"}


@pytest.mark.parametrize(
    ("errors", "left"),
    [
        ({"a": 1.0, "b": 8.0, "c": 1.0, "d": 1.0}, ["b"]),
        (dict.fromkeys("abcdefgh", 1.0), ["a", "b"]),  # a quarter of the layers, though half of the error is four
        ({"a": 3.0, "b": 0.1, "c": 0.1, "d": 0.1, "e": 4.0, "f": 0.1, "g": 0.1, "h": 0.1}, ["e"]),
        ({"a": 1.0}, ["a"]),
        ({"a": 0.0, "b": 0.0}, ["a"]),
    ],
)
def test_the_fewest_layers_with_half_of_the_error_are_left_in_float(errors: dict[str, float], left: list[str]) -> None:
    assert sensitivity.worst(errors) == left


# ---- other processors --------------------------------------------------------------------------------------------


def served(folder: Path, photos: Sequence[Sample[None]], work: Path, emulator: Sequence[str] = ()) -> list[np.ndarray]:
    """The answers of the server's code to photos, computed by an emulated processor."""
    work.mkdir()
    np.save(work / "tensors.npy", np.empty((0, 3, SIDE, SIDE), np.float32))
    (work / "files.json").write_text(json.dumps([str(sample.path) for sample in photos]))
    command = [*emulator, python("serve"), "-m", "serve.engine.check", "--model-dir", folder, "--work", work]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    with np.load(work / "file_outputs.npz") as answers:
        return [answers[str(number)] for number in range(len(photos))]


@pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"{QEMU} is not here: install Debian's qemu-user-static")
def test_a_processor_without_vnni_gives_the_same_answers_bit_for_bit(
    made: Made, tmp_path: Path, photos: list[Sample[None]]
) -> None:
    """Haswell has AVX2 alone, whose sum of two products ends at 16 bits."""
    here = served(made.folder, photos[:4], tmp_path / "here")
    there = served(made.folder, photos[:4], tmp_path / "there", (QEMU, "-cpu", "Haswell"))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"{QEMU} is not here: install Debian's qemu-user-static")
@pytest.mark.skipif(not has_vnni(), reason="this processor has no VNNI either")
def test_the_emulated_processor_cuts_sums_of_products_of_weights_with_eight_bits(
    tmp_path: Path, photos: list[Sample[None]]
) -> None:
    """So that the test above can fail: all weights are the same there, and so as large as eight bits can be."""
    model = graph()
    for each in model.graph.initializer:
        if each.name in ("w0", "w1"):
            array = np.abs(numpy_helper.to_array(each)).max() * np.ones_like(numpy_helper.to_array(each))
            each.CopyFrom(numpy_helper.from_array(array, each.name))
    teach(model)
    folder = written(tmp_path / "model", model)
    closing.quantize(folder, known(folder, photos[:60]), Request(photos[60:], (), 0, 1.0, ("--full-range",)))
    described = artifact.read(folder)
    assert described.quantization.serves == INT8
    reduced = replace(described.quantization, reduce_range=True)  # else the float graph would serve there
    artifact.write(replace(described, quantization=reduced), folder)
    here = np.stack(served(folder, photos[:4], tmp_path / "here"))
    there = np.stack(served(folder, photos[:4], tmp_path / "there", (QEMU, "-cpu", "Haswell")))
    assert np.abs(here - there).max() > 0.01
