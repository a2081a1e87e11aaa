"""What tests/framework/test_serving.py runs inside the MXNet environment (which has onnx) and the serving one."""

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np

FACTOR = 4.0


def make_model(folder: str, channels: int = 3, rule: str = "crop", broken: str = "") -> None:
    """An artifact whose answer is worked out by hand: softmax(4 x mean of each channel), 8 x 8 pixels, mean 0, std 1.

    `broken`: "graph" writes a model.onnx that is none, "classes" one class name too many, "nan" weights that are not
    finite.
    """
    from onnx import TensorProto, helper, save

    from serve.artifact import Artifact, InputSpec, write

    factor = float("nan") if broken == "nan" else FACTOR
    nodes = [
        helper.make_node("ReduceMean", ["data"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["means", "factor"], ["scores"]),
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
    from serve.forms import Answer
    from serve.model import Model
    from serve.settings import Settings

    settings = Settings.from_environment({"SAGEMAKER_BASE_DIR": base})
    engine = Engine(settings.model_dir, 1)
    model = Model(lambda: engine, lambda: None)
    client = create_app(settings, model).test_client()
    model.start().join(30)
    answer = engine.answer

    def fail(data: bytes) -> Answer:
        raise RuntimeError("secret detail of our code")

    engine.answer = fail  # type: ignore[method-assign]
    reply = client.post("/invocations", data=_photo())
    engine.answer = answer  # type: ignore[method-assign]
    return [reply.status_code, reply.get_json(), client.post("/invocations", data=_photo()).status_code]


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
