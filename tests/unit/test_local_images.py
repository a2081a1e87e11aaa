"""The list of images, containers/images.txt, and the files and modules that each image needs."""

import ast
import re

import pytest

from local import algorithms
from local.algorithms.algorithm import Algorithm
from local.images import IMAGES, TRAINING
from tests.environments import REPOSITORY
from train import entry


def test_every_image_but_inference_trains() -> None:
    assert set(IMAGES) - set(TRAINING) == {"inference"}


@pytest.mark.parametrize("name", IMAGES)
def test_the_dockerfile_of_each_image_installs_its_lock_file(name: str) -> None:
    image = IMAGES[name]
    lock = image.lock().relative_to(REPOSITORY).as_posix()
    text = image.dockerfile.read_text(encoding="utf-8")
    assert f"source={lock}," in text or (f"ARG LOCK={lock}\n" in text and "source=${LOCK}," in text)
    assert image.lock().is_file()


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_a_stack_share_an_environment_that_no_other_stack_uses(name: str) -> None:
    of_stack = {image.environment for image in IMAGES.values() if image.stack == IMAGES[name].stack}
    of_environment = {image.stack for image in IMAGES.values() if image.environment == IMAGES[name].environment}
    assert (len(of_stack), len(of_environment)) == (1, 1)


def test_the_training_program_has_exactly_the_listed_algorithms() -> None:
    assert set(entry.ALGORITHMS) == set(TRAINING)
    for name, module in entry.ALGORITHMS.items():
        job = REPOSITORY / f"{module.replace('.', '/')}.py"
        assert module == f"train.{name.replace('-', '_')}.job"
        assert "ALGORITHM" in {
            target.id
            for node in ast.parse(job.read_text()).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }


@pytest.mark.parametrize("name", TRAINING)
def test_each_algorithm_implements_the_interface_that_the_commands_use(name: str) -> None:
    algorithm = algorithms.get(name)
    interface = {member for member in vars(Algorithm) if not member.startswith("_")} | set(Algorithm.__annotations__)
    assert interface >= {"recipe", "classes", "record_label"}
    assert interface - set(dir(algorithm)) == set()
    assert "recordio" not in algorithm.formats or type(algorithm).record_label is not Algorithm.record_label


def test_no_other_file_lists_the_images() -> None:
    for pattern in ("Makefile", "containers/*/Dockerfile", "local/**/*.py", "train/*.py"):
        for file in REPOSITORY.glob(pattern):
            text = file.read_text(encoding="utf-8")
            listed = {name for name in IMAGES if re.search(rf"""["'= ]{name}["' ]""", text)}
            assert len(listed) < 3, f"{file.relative_to(REPOSITORY)} lists {listed}: read containers/images.txt"
