"""The list of images, containers/images.txt, and what has to be there for each of them."""

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
def test_an_image_has_a_dockerfile_which_installs_its_lock_file(name: str) -> None:
    image = IMAGES[name]
    lock = image.lock().relative_to(REPOSITORY).as_posix()
    text = image.dockerfile.read_text(encoding="utf-8")
    assert f"source={lock}," in text or (f"ARG LOCK={lock}\n" in text and "source=${LOCK}," in text)
    assert image.lock().is_file()


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_one_stack_share_an_environment_which_no_other_stack_has(name: str) -> None:
    of_stack = {image.environment for image in IMAGES.values() if image.stack == IMAGES[name].stack}
    of_environment = {image.stack for image in IMAGES.values() if image.environment == IMAGES[name].environment}
    assert (len(of_stack), len(of_environment)) == (1, 1)


def test_the_training_program_has_the_algorithms_of_the_list_and_no_other() -> None:
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
def test_an_algorithm_has_a_module_of_local_with_all_that_the_commands_ask_for(name: str) -> None:
    algorithm = algorithms.get(name)
    asked = {what for what in vars(Algorithm) if not what.startswith("_")} | set(Algorithm.__annotations__)
    assert asked >= {"recipe", "classes", "record_label"}
    assert asked - set(dir(algorithm)) == set()
    assert "recordio" not in algorithm.formats or type(algorithm).record_label is not Algorithm.record_label


def test_no_other_file_that_builds_or_runs_an_image_lists_them() -> None:
    for pattern in ("Makefile", "containers/*/Dockerfile", "local/**/*.py", "train/*.py"):
        for file in REPOSITORY.glob(pattern):
            text = file.read_text(encoding="utf-8")
            listed = {name for name in IMAGES if re.search(rf"""["'= ]{name}["' ]""", text)}
            assert len(listed) < 3, f"{file.relative_to(REPOSITORY)} lists {listed}: read containers/images.txt"
