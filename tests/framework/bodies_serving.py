"""What tests/framework/test_serving.py runs inside the MXNet environment (which has onnx) and the serving one."""

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np

FACTOR = 4.0


def make_model(folder: str, channels: int = 3, rule: str = "crop", broken: str = "") -> None:
    """An artifact whose answer is worked out by hand: softmax(4 x mean of each channel), 8 x 8 pixels, mean 0, std 1.

    `broken`: "graph" writes a model.onnx that is not one, "classes" one class name too many, "nan" weights that are not
    finite, "overflow" weights that are too large for any picture but a black one.
    """
    from onnx import TensorProto, helper, save

    from serve.artifact import Artifact, InputSpec, write

    factor = {"nan": float("nan"), "overflow": 1e30}.get(broken, FACTOR)
    nodes = [
        helper.make_node("ReduceMean", ["data"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["means", "factor"], ["large"]),
        helper.make_node("Mul", ["large", "factor"], ["scores"])
        if broken == "overflow"
        else helper.make_node("Identity", ["large"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", channels, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", channels])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])],
    )
    names = ("red", "green", "blue")[:channels] + (("purple",) if broken == "classes" else ())
    spec = InputSpec("data", channels, 8, 8, 10, rule, (0.0,) * channels, (1.0,) * channels)
    Path(folder).mkdir(parents=True)
    write(Artifact("image-classification", "channel means", names, spec, "softmax"), Path(folder))
    if broken == "graph":
        Path(folder, "model.onnx").write_bytes(b"no model")
    else:
        save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), f"{folder}/model.onnx"
        )


def make_detector(folder: str, broken: str = "") -> None:
    """An artifact whose detections are worked out by hand, 16 x 16 pixels, mean 0, std 1.

    The anchors are the 4 x 4 cells of the image; the scores of red, green and blue are the channels' means over a
    cell's inner pixels, which resizing does not mix with the next cell's. The same cells follow again, with scores
    times 0.9 and boxes an eighth of a cell further to the right: an IoU of 7 / 9 with the first.
    `broken`: "classes" writes one class name too many, "nan" scores that are not finite.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    from serve.artifact import Artifact, InputSpec, Nms, write

    corners = [(x, y, x + 1, y + 1) for y in range(4) for x in range(4)]
    shifted = [(x0 + 1 / 8, y0, x1 + 1 / 8, y1) for x0, y0, x1, y1 in corners]
    constants = {
        "cells": np.array([[*corners, *shifted]], np.float32) / np.float32(4),
        "first": np.array([1, 1]),
        "last": np.array([16, 16]),
        "sides": np.array([2, 3]),
        "weaker": np.array(float("nan") if broken == "nan" else 0.9, np.float32),
        "flat": np.array([0, 3, 16], np.int64),
        "one": np.array([-1, 1, 1], np.int64),
        "zero": np.array(0, np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["data", "first", "last", "sides"], ["inner"]),
        helper.make_node("AveragePool", ["inner"], ["means"], kernel_shape=[2, 2], strides=[4, 4]),
        helper.make_node("Reshape", ["means", "flat"], ["by_class"]),
        helper.make_node("Transpose", ["by_class"], ["strong"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["strong", "weaker"], ["weak"]),
        helper.make_node("Concat", ["strong", "weak"], ["scores"], axis=1),
        helper.make_node("ReduceMean", ["data"], ["mean"], axes=[1, 2, 3]),
        helper.make_node("Mul", ["mean", "zero"], ["nought"]),
        helper.make_node("Reshape", ["nought", "one"], ["for_each"]),
        helper.make_node("Add", ["cells", "for_each"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "cells",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 32, 3]),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", 32, 4]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    names = ("red", "green", "blue", *(("purple",) if broken == "classes" else ()))
    spec = InputSpec("data", 3, 16, 16, 16, "stretch", (0.0,) * 3, (1.0,) * 3)
    Path(folder).mkdir(parents=True)
    described = Artifact("object-detection", "cell means", names, spec, "boxes", nms=Nms(0.45, 400, 0.05))
    write(described, Path(folder))
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), f"{folder}/model.onnx")


def make_segmenter(folder: str, broken: str = "") -> None:
    """An artifact whose logits are worked out by hand, 64 x 64 pixels, mean 0, std 1, four classes.

    A cell's logits are 20 times the means of red, green and blue over its 8 x 8 pixels, and 1 for black, whatever the
    pixels. `broken`: "classes" writes one class name too many, "cells" a graph whose cells overlap, "nan" logits that
    are not finite.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    from serve.artifact import Artifact, InputSpec, write

    kernels = np.zeros((4, 3, 8, 8), np.float32)
    for channel in range(3):
        kernels[channel, channel] = 20 / 64
    bias = np.array([0, 0, 0, float("nan") if broken == "nan" else 1], np.float32)
    stride = 4 if broken == "cells" else 8
    graph = helper.make_graph(
        [helper.make_node("Conv", ["data", "kernels", "bias"], ["logits"], strides=[stride, stride])],
        "cell means",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4, "h", "w"])],
        [numpy_helper.from_array(kernels, "kernels"), numpy_helper.from_array(bias, "bias")],
    )
    names = ("red", "green", "blue", "black", *(("purple",) if broken == "classes" else ()))
    spec = InputSpec("data", 3, 64, 64, 64, "pad", (0.0,) * 3, (1.0,) * 3)
    Path(folder).mkdir(parents=True)
    write(Artifact("semantic-segmentation", "cell means", names, spec, "logits"), Path(folder))
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), f"{folder}/model.onnx")


def records_by_the_sdk(paths: list[str]) -> list[Any]:
    """Of the one record in each file, as SageMaker's SDK v2 reads it: the numbers of the shape, and of the target."""
    from sagemaker.amazon.common import read_records

    found = []
    for path in paths:
        with open(path, "rb") as file:
            [record] = read_records(file)
        features = record.features
        found.append([list(features["shape"].int32_tensor.values), list(features["target"].float32_tensor.values)])
    return found


def make_tensor_model(folder: str) -> None:
    """A model of the task `tensors`: the means of an image's colours, sums of two numbers, and words as they are."""
    from onnx import TensorProto, helper, save

    from serve.signature import Signature, Tensor, TensorModel, write

    real, text = TensorProto.FLOAT, TensorProto.STRING
    graphs = {
        "means": (
            [("image", real, ["N", 8, 8, 3])],
            ("means", real, ["N", 3]),
            "ReduceMean",
            {"axes": [1, 2], "keepdims": 0},
        ),
        "sum": ([("a", real, ["N"]), ("b", real, ["N"])], ("sum", real, ["N"]), "Add", {}),
        "words": ([("text", text, ["N"])], ("same", text, ["N"]), "Identity", {}),
    }
    Path(folder).mkdir(parents=True)
    signatures = {}
    for name, (inputs, output, operator, attributes) in graphs.items():
        node = helper.make_node(operator, [one[0] for one in inputs], [output[0]], **attributes)
        infos = [helper.make_tensor_value_info(*one) for one in inputs]
        graph = helper.make_graph([node], name, infos, [helper.make_tensor_value_info(*output)])
        save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), f"{folder}/{name}.onnx"
        )
        described = [
            Tensor(one, "float32" if kind == real else "string", (None, *shape[1:]))
            for one, kind, shape in (*inputs, output)
        ]
        signatures["serving_default" if name == "means" else name] = Signature(
            tuple(described[:-1]), tuple(described[-1:]), f"{name}.onnx"
        )
    Path(folder, "model.onnx").touch()  # what tells a model that is ready from one to be converted
    write(TensorModel("three graphs", signatures), Path(folder))


def tensors_and_masks() -> list[str]:
    """SHA-256 of what serve.preprocess and serve.masks make of drawn photos and logits, array by array."""
    import hashlib

    from PIL import Image

    from serve import masks, preprocess
    from serve.artifact import InputSpec

    random = np.random.default_rng(0)
    digests = []
    for size, side in (((500, 375), 520), ((301, 400), 128), ((1200, 5), 64), ((9, 7), 64)):
        spec = InputSpec("data", 3, side, side, side, "pad", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (*size[::-1], 3)).astype(np.uint8)).save(file, "JPEG")
        logits = random.normal(0, 3, (5, side // 8, side // 8)).astype(np.float32)
        arrays = (preprocess.load(file.getvalue(), spec), masks.class_ids(logits, size, spec))
        digests += [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
    return digests


def select_and_box_nms(cases: list[list[Any]]) -> list[list[list[list[float]]]]:
    """For each case (arguments of _both), detections by serve.detection and by MXNet."""
    return [_both(*case) for case in cases]


def _both(anchors: int, classes: int, threshold: float, top_k: int, floor: float) -> list[list[list[float]]]:
    """Detections of drawn proposals without equal scores: by serve.detection, and by MXNet as GluonCV's SSD does it."""
    import mxnet as mx

    from serve import detection
    from serve.artifact import Nms

    random = np.random.default_rng(0)
    scores = ((random.permutation(anchors * classes) + 1) / (anchors * classes)).astype(np.float32)
    scores = (scores**4).reshape(anchors, classes)  # most of them low, as a network's are
    assert len(np.unique(scores[scores > floor])) == (scores > floor).sum()
    # Around a few objects, so that many overlap; some reach over the image's edge.
    centres = random.random((8, 2))[random.integers(0, 8, anchors)] + random.normal(0, 0.03, (anchors, 2))
    sides = random.uniform(0.2, 0.5, (anchors, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).astype(np.float32)
    rows = []
    for index in range(classes):
        kept = scores[:, index] > floor
        identity, score = np.where(kept, index, -1), np.where(kept, scores[:, index], 0)
        rows.append(np.column_stack([identity, score, boxes]).astype(np.float32))
    suppressed = mx.nd.contrib.box_nms(
        mx.nd.array(np.concatenate(rows)),
        overlap_thresh=threshold,
        topk=top_k,
        valid_thresh=floor,
        id_index=0,
        score_index=1,
        coord_start=2,
        force_suppress=False,
    ).asnumpy()
    suppressed = suppressed[suppressed[:, 0] >= 0]
    suppressed[:, 2:] = suppressed[:, 2:].clip(0, 1)
    return [detection.select(scores, boxes, Nms(threshold, top_k, floor)).tolist(), suppressed.tolist()]


def _photo() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (20, 10), (255, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def answers_while_loading(base: str) -> list[Any]:
    """Status and JSON of /ping and /invocations before the model is there, and their statuses after."""
    from serve.app import create_app
    from serve.engine import Engine
    from serve.model import Model
    from serve.settings import Settings

    settings = Settings.from_environment({"SAGEMAKER_BASE_DIR": base})
    may_load, failures = threading.Event(), []

    def load() -> Engine:
        assert may_load.wait(30)
        return Engine(settings.model_dir, 1)

    model = Model(load, lambda: failures.append("failed"))
    client = create_app(settings, model).test_client()
    loading = model.start()
    replies = [client.get("/ping"), client.post("/invocations", data=_photo())]
    before = [[reply.status_code, reply.get_json(), reply.headers.get("Retry-After")] for reply in replies]
    may_load.set()
    loading.join(30)
    after = [client.get("/ping").status_code, client.post("/invocations", data=_photo()).status_code]
    return [before, after, failures]


def answer_when_the_engine_fails(base: str) -> list[Any]:
    """Status and JSON when an error of ours escapes from the engine, and the status of the request after it."""
    from serve.app import create_app
    from serve.engine import Engine
    from serve.model import Model
    from serve.settings import Settings

    settings = Settings.from_environment({"SAGEMAKER_BASE_DIR": base})
    engine = Engine(settings.model_dir, 1)
    model = Model(lambda: engine, lambda: None)
    client = create_app(settings, model).test_client()
    model.start().join(30)
    run = engine.run

    def fail(tensors: np.ndarray) -> dict[str, np.ndarray]:
        raise RuntimeError("secret detail of our code")

    engine.run = fail  # type: ignore[method-assign]
    reply = client.post("/invocations", data=_photo())
    engine.run = run  # type: ignore[method-assign]
    return [reply.status_code, reply.get_json(), client.post("/invocations", data=_photo()).status_code]


def answers_in_little_room(base: str) -> list[int]:
    """Statuses of two requests where there is room for one and its answer, and of one where there is too little."""
    from dataclasses import replace

    from serve.app import create_app
    from serve.engine import Engine
    from serve.model import Model
    from serve.settings import Settings

    settings = Settings.from_environment({"SAGEMAKER_BASE_DIR": base})
    engine = Engine(settings.model_dir, 1)
    photo, statuses = _photo(), []
    for room, requests in ((len(photo) + 100, 2), (len(photo) - 1, 1), (len(photo) + 1, 1)):
        model = Model(lambda: engine, lambda: None)
        client = create_app(replace(settings, room=room), model).test_client()
        model.start().join(30)
        for _ in range(requests):
            with client.post("/invocations", data=photo) as reply:
                statuses.append(reply.status_code)
    return statuses


def modules_of_the_server() -> list[str]:
    """The top-level modules that a serving process has imported once it can answer."""
    import sys

    import serve.app
    import serve.engine  # noqa: F401

    return sorted({name.partition(".")[0] for name in sys.modules})


def modules_of_import_serve() -> list[str]:
    """What `import serve` alone adds."""
    import sys

    before = set(sys.modules)
    import serve  # noqa: F401

    return sorted(set(sys.modules) - before)


def outputs(work: str) -> dict[str, Any]:
    """What serve.check has written."""
    return {
        file: {name: [str(array.dtype), array.tolist()] for name, array in np.load(Path(work, f"{file}.npz")).items()}
        for file in ("tensor_outputs", "file_outputs")
    }
