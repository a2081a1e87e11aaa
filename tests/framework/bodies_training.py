"""What tests/framework/test_training.py runs inside the MXNet and the serving environment."""

import io
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def _input(size: int = 32, channels: int = 3, count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, channels, size, size)).astype(np.float32)


def module_outputs(model: str, epoch: int) -> list[list[float]]:
    """Probabilities of the native files by MXNet's own Module API, as a user of the built-in would load them."""
    import mxnet as mx

    symbol, arguments, auxiliary = mx.model.load_checkpoint(f"{model}/image-classification", epoch)
    shapes = {entry["name"]: entry["shape"] for entry in json.loads(Path(model, "model-shapes.json").read_text())}
    module = mx.mod.Module(symbol, data_names=list(shapes))
    module.bind([("data", (2, *shapes["data"][1:]))], for_training=False)
    module.set_params(arguments, auxiliary)
    module.forward(mx.io.DataBatch([mx.nd.array(_input())]), is_train=False)
    return module.get_outputs()[0].asnumpy().tolist()


def onnx_difference(model: str, native: list[list[float]]) -> float:
    """Largest difference of model.onnx from `native` on the same input."""
    import onnxruntime

    session = onnxruntime.InferenceSession(f"{model}/model.onnx")
    return float(np.abs(session.run(None, {"data": _input()})[0] - np.array(native)).max())


def _checked(hyperparameters: dict[str, Any], **changes: Any) -> dict[str, Any]:
    from train.image_classification import table

    values = {**hyperparameters, **changes}
    return table.check({name: str(value) for name, value in values.items() if value is not None})


def _message(base: Path, hp: dict[str, Any]) -> str:
    from train import channels
    from train.errors import UserError
    from train.image_classification import data

    try:
        data.load(channels.load(base / "input"), hp)
    except UserError as error:
        return str(error)
    return "nothing was refused"


def lst_messages(base: str, hyperparameters: dict[str, Any], texts: dict[str, str]) -> dict[str, str]:
    """What each text as train.lst is refused with."""
    path = Path(base, "input/data/train_lst/train.lst")
    said = {}
    for case, text in texts.items():
        path.write_text(text)
        said[case] = _message(Path(base), _checked(hyperparameters))
    return said


def listed(base: str, hyperparameters: dict[str, Any], text: str) -> list[list[Any]]:
    """Names and labels that train.lst with this text gives."""
    from train import channels
    from train.image_classification import data

    Path(base, "input/data/train_lst/train.lst").write_bytes(text.encode())
    hp = _checked(hyperparameters, mini_batch_size=1)
    return [[sample.name, sample.label] for sample in data.load(channels.load(Path(base, "input")), hp).train]


def form_messages(base: str, hyperparameters: dict[str, Any]) -> dict[str, str]:
    """What data in another form than its channel says is refused with."""
    from train import recordio

    root = Path(base)
    said = {"no resize": _message(root, _checked(hyperparameters, resize=None))}
    names = root / "input/data/train_lst/classes.txt"
    names.write_text("a\nb\n")
    said["class names of another count"] = _message(root, _checked(hyperparameters))
    names.unlink()
    config = root / "input/config"
    config.mkdir()
    kinds = {"train": {"ContentType": "application/x-recordio"}, "validation": {}, "validation_lst": {}}
    (config / "inputdataconfig.json").write_text(json.dumps(kinds))
    said["recordio without a file"] = _message(root, _checked(hyperparameters))
    photo = (root / "input/data/train/across/0.jpg").read_bytes()
    record = root / "input/data/train/train.rec"
    record.write_bytes(photo)
    said["jpeg for recordio"] = _message(root, _checked(hyperparameters))
    for path in (record, root / "input/data/validation/validation.rec"):
        with recordio.Writer(path) as writer:
            writer.write(recordio.pack_image(0.0, 0, photo))
    (config / "inputdataconfig.json").write_text(json.dumps({"train": kinds["train"], "validation": kinds["train"]}))
    small = _checked(hyperparameters, resize=None, image_shape="3,64,64")
    said["photo smaller than the crop"] = _message(root, small)
    return said


def output_shapes() -> dict[str, list[int]]:
    """Shape of the logits of two images, for every number of layers."""
    import mxnet as mx

    from train.image_classification import network, table

    return {
        str(layers): list(network.build(layers, 5, 3, 0)(mx.nd.array(_input(64))).shape) for layers in table.NUM_LAYERS
    }


def _exported(folder: str, layers: int) -> tuple[np.ndarray, np.ndarray, bytes]:
    """An artifact of random weights in `folder`; tensors, MXNet's probabilities of them, and a JPEG."""
    import mxnet as mx

    from serve.artifact import Artifact, InputSpec, write
    from train import export
    from train.image_classification import network

    net = network.build(layers, 5, 3, 0)
    for name, parameter in net.collect_params().items():
        if name.endswith("gamma"):  # blocks start as the identity, which would leave half of the graph unproven
            parameter.set_data(mx.nd.random.uniform(0.5, 1.5, parameter.shape))
    tensors = _input(48)
    expected = mx.nd.softmax(net(mx.nd.array(tensors))).asnumpy()
    symbol = mx.sym.softmax(net(mx.sym.var("data")), name=export.OUTPUT)
    parameters = {f"arg:{name}": value.data() for name, value in net.collect_params().items()}
    export.to_onnx(symbol, parameters, "data", (3, 48, 48), Path(folder) / "model.onnx")
    spec = InputSpec("data", 3, 48, 48, 48, "crop", (0.5,) * 3, (0.5,) * 3)
    write(Artifact("image-classification", network.name(layers), tuple("abcde"), spec, "softmax"), Path(folder))
    jpeg = io.BytesIO()
    Image.effect_noise((60, 50), 80).convert("RGB").save(jpeg, "JPEG")
    return tensors, expected, jpeg.getvalue()


def _samples(folder: str, photos: list[bytes]) -> list[Any]:
    """Samples named dog/0.jpg, ...: the first is a file of its own, the others are records."""
    from train import recordio
    from train.samples import Sample, records

    file, record = Path(folder, "0.jpg"), Path(folder, "photos.rec")
    file.write_bytes(photos[0])
    with recordio.Writer(record) as writer:
        for number, photo in enumerate(photos[1:], 1):
            writer.write(recordio.pack_image(0.0, number, photo))
    found = [Sample("dog/0.jpg", 0, file)]
    return found + [
        Sample(f"dog/{number}.jpg", 0, record, sample.offset, sample.length)
        for number, sample in enumerate(records(record), 1)
    ]


def truncated_beside_the_network() -> str:
    """What becomes of a photo without its end where the libraries of the networks are imported."""
    from serve import preprocess
    from train.image_classification import network  # noqa: F401

    jpeg = io.BytesIO()
    Image.effect_noise((60, 50), 80).convert("RGB").save(jpeg, "JPEG")
    try:
        preprocess.decode(jpeg.getvalue()[:-500])
    except preprocess.UnreadableImage as error:
        return str(error)
    return "read as if it were whole"


def export_and_verify(folder: str, layers: int) -> str:
    """Both checks of an artifact of random weights."""
    from train import export

    tensors, expected, jpeg = _exported(folder, layers)
    photos = _samples(folder, [jpeg, jpeg])
    export.verify(
        Path(folder), tensors, {export.OUTPUT: expected}, photos, lambda answers: float(sum(answers).sum()), 2.0
    )
    return "verified"


def refused_artifacts(folder: str) -> dict[str, str]:
    """What the checks say of artifacts that are not what was trained."""
    from train import export
    from train.errors import TrainError

    tensors, expected, jpeg = _exported(folder, 20)

    def said(outputs: np.ndarray, logged: float, *photos: bytes) -> str:
        files = _samples(folder, [jpeg, *photos])
        if photos == (b"gone",):
            files[0].path.unlink()
        try:
            export.verify(
                Path(folder), tensors, {export.OUTPUT: outputs}, files, lambda answers: float(answers[0].sum()), logged
            )
        except TrainError as error:
            return str(error)
        return "nothing was refused"

    found = {"other outputs": said(expected + 0.001, 1.0), "other metric": said(expected, 0.5)}
    found["truncated photo"] = said(expected, 1.0, jpeg, jpeg[:400])
    found["photo that is gone"] = said(expected, 1.0, b"gone")
    graph = Path(folder, "model.onnx")
    graph.write_bytes(graph.read_bytes()[:1000])
    return {**found, "damaged graph": said(expected, 1.0)}


def run_to_a_loss_that_is_not_finite(base: str, hyperparameters: dict[str, Any]) -> str:
    """Train with a schedule that multiplies the learning rate by 1e30 after the first epoch; what the job says.

    No hyperparameter that the table admits makes a network with BatchNorm overflow after an epoch that did not, so
    the schedule's factor is changed behind the table.
    """
    from train.errors import UserError
    from train.image_classification import job, loop

    make = loop.optimizer

    def exploding(hp: dict[str, Any]) -> Any:
        optimizer = make(hp)
        optimizer.lr_scheduler.factor = 1e30
        return optimizer

    loop.optimizer = exploding
    values = {**hyperparameters, "lr_scheduler_step": "1", "num_training_samples": 32}
    try:
        job.run(Path(base), {name: str(value) for name, value in values.items()}, {})
    except UserError as error:
        return str(error)
    return "nothing was refused"


class Clock:
    """Takes the place of time.monotonic in this process, and stands still until it is set on."""

    def __init__(self) -> None:
        self.now = 0.0
        time.monotonic = lambda: self.now


class Slow:
    """Takes the place of an update: its loss is 1 and all is right; to read that sets a clock on by `seconds`."""

    learning_rate = 0.1

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds

    def __call__(self, images: None, labels: np.ndarray) -> tuple[None, None]:
        return None, None

    def read(self, *results: None) -> tuple[float, np.ndarray]:
        self._clock.now += self._seconds
        return 1.0, np.tile([0.9, 0.1], (8, 1))


class Late:
    """One of a step's results: ones (8,), for whose computation a clock is set on by `seconds`."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds

    def sum(self) -> "Late":
        return self

    def asscalar(self) -> float:
        self._clock.now += self._seconds
        return 8.0


class Batches:
    """`count` batches of 8 samples of class 0, without pictures."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def epoch(self, number: int) -> Iterator[tuple[None, np.ndarray]]:
        return ((None, np.zeros(8, int)) for _ in range(self._count))


@contextmanager
def log_lines() -> Iterator[list[str]]:
    """The lines of the job's log while the block runs."""
    from train.log import LOG

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    yield said


def speed_lines(count: int, seconds: float) -> list[str]:
    """The lines of the second of four epochs, of `count` batches, each of which takes `seconds` by the clock."""
    from train import classifier

    clock = Clock()
    hp = _checked({"num_classes": 2, "num_training_samples": 8, "mini_batch_size": 8, "epochs": 4, "resize": 224})
    with log_lines() as said:
        classifier.Epoch(1, Slow(clock, seconds), Batches(count), hp, time.monotonic()).run()
    return said


def losses(name: str) -> tuple[float, float]:
    """Mean loss on one batch before and after 30 steps of one optimizer."""
    from train.image_classification import loop, network

    hp = _checked({"num_classes": 2, "num_training_samples": 8, "optimizer": name, "resize": 224})
    hp["learning_rate"] = {"sgd": 0.05, "nag": 0.05, "adam": 0.002, "rmsprop": 0.002}[name]
    labels = np.array([0, 1] * 4)
    step = loop.Step(network.build(20, 2, 3, 0), loop.loss_function(hp, labels), hp)
    found = [float(step(_input(count=8), labels)[0].asnumpy().mean()) for _ in range(30)]
    return found[0], found[-1]


def learning_rates() -> list[float]:
    """The learning rate that each of twelve updates uses."""
    from train.image_classification import loop

    steps = {"lr_scheduler_step": "2,3", "mini_batch_size": 4, "learning_rate": 0.1, "resize": 224}
    optimizer = loop.optimizer(_checked({"num_classes": 2, "num_training_samples": 10, **steps}))
    rates = []
    for update in range(1, 13):
        optimizer.num_update = update
        rates.append(float(optimizer.learning_rate))
    return rates


def optimizer_settings() -> dict[str, list[float]]:
    """What the hyperparameters set on each optimizer."""
    from train.image_classification import loop

    given = {"momentum": 0.7, "weight_decay": 0.02, "beta_1": 0.8, "beta_2": 0.99, "eps": 1e-3, "gamma": 0.6}
    made = {
        name: loop.optimizer(_checked({"num_classes": 2, "num_training_samples": 10, "optimizer": name, **given}))
        for name in ("sgd", "nag", "adam", "rmsprop")
    }
    return {
        "sgd": [made["sgd"].momentum, made["sgd"].wd],
        "nag": [made["nag"].momentum, made["nag"].wd],
        "adam": [made["adam"].beta1, made["adam"].beta2, made["adam"].epsilon, made["adam"].wd],
        "rmsprop": [made["rmsprop"].gamma1, made["rmsprop"].epsilon, made["rmsprop"].wd],
    }


def weighted_loss() -> float:
    """The weighted loss of labels [1, 1] at logits of 0."""
    import mxnet as mx

    from train.image_classification import loop

    hp = _checked({"num_classes": 2, "num_training_samples": 4, "multi_label": 1, "use_weighted_loss": 1})
    loss = loop.loss_function(hp, np.array([[1, 1], [0, 1], [0, 0], [0, 0]], np.float32))
    return float(loss(mx.nd.zeros((1, 2)), mx.nd.ones((1, 2))).asnumpy()[0])


def augmentations() -> str:
    """Closed-form cases of every augmentation type; an AssertionError names the one that fails."""
    from train.image_classification.augment import TYPES, augment

    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    assert np.array_equal(augment(photo, 32, 32, None, rng), photo[4:36, 14:46]), "no type: the centre"
    crops = [augment(photo, 32, 32, "crop", np.random.default_rng(i)) for i in range(40)]
    windows = {
        photo[top : top + 32, left : left + 32][:, ::step].tobytes(): (top, left, step)
        for top in range(9)
        for left in range(29)
        for step in (1, -1)
    }
    places = {windows[np.ascontiguousarray(crop).tobytes()] for crop in crops}  # a KeyError: a crop that is none
    assert len(places) > 20, "crop: anywhere"
    assert {step for _, _, step in places} == {1, -1}, "crop: flipped or not"
    for channels in (1, 3):
        flat = np.full((40, 40, channels), 100, np.uint8)
        for kind in TYPES:
            made = [augment(flat, 32, 32, kind, np.random.default_rng(i)) for i in range(200)]
            assert all(m.shape == (32, 32, channels) and m.dtype == np.uint8 for m in made), (kind, channels)
            assert all((m == m[0, 0]).all() for m in made), "a flat photo stays flat: nothing is filled in from outside"
            values = {int(m[0, 0, 0]) for m in made}
            assert values == {100} if kind == "crop" else min(values) < 60 and max(values) > 140, (kind, values)
    white = np.full((40, 40, 1), 255, np.uint8)
    darkest = min(augment(white, 32, 32, "crop_color", np.random.default_rng(i)).min() for i in range(300))
    assert darkest == 255 - 50, "lightness moves by up to 50"
    _geometry(augment)
    same = [augment(photo, 32, 32, "crop_color_transform", np.random.default_rng(9)) for _ in range(2)]
    assert np.array_equal(*same), "the same seed gives the same crop"
    return "as named"


def _geometry(augment: Any) -> None:
    """An upright edge leans by at most 10 degrees of rotation and 0.1 of shear, and usually does."""
    edge = np.zeros((101, 101, 1), np.uint8)
    edge[:, 50:] = 200
    leans = []
    for seed in range(200):
        made = augment(edge, 81, 81, "crop_color_transform", np.random.default_rng(seed))[..., 0].astype(float)
        threshold = (made.min() + made.max()) / 2
        top, bottom = ((row > threshold).mean() * 81 for row in (made[10], made[70]))
        leans.append(abs(top - bottom) / 60)
    limit = np.tan(np.deg2rad(10)) * 1.34 + 0.1 * 1.34 + 0.05  # aspect ratios of 0.75 and 1.25 stretch the lean
    assert max(leans) <= limit, max(leans)
    assert np.median(leans) > 0.03, np.median(leans)


def accuracies(folders: list[str]) -> list[list[Any]]:
    """Run a job in each folder: the last Train-accuracy, what the server's code reaches, the artifact's resize."""
    from train import hyperparameters
    from train.image_classification import job
    from train.log import LOG

    found = []
    LOG.setLevel(logging.INFO)
    for folder in map(Path, folders):
        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record, lines=lines: lines.append(record.getMessage())  # type: ignore[method-assign]
        LOG.addHandler(handler)
        job.run(folder, hyperparameters.read(folder / "input/config/hyperparameters.json"), {})
        LOG.removeHandler(handler)
        trained = [line for line in lines if "Train-accuracy=" in line][-1].rpartition("=")[2]
        served = next(line for line in lines if line.startswith("Check of model.onnx")).split("; ")[1].split()[0]
        description = json.loads((folder / "model/model.json").read_text())
        found.append([float(trained), float(served), description["input"]["resize"]])
    return found
