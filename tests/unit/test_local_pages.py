"""What readers copy from docs/: metric definitions find their lines, notebooks fail early and leave no endpoint."""

import importlib
import json
import re
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from local import algorithms
from local.datasets.drawn.breeds import BREEDS
from local.images import TRAINING
from serve import settings
from tests.environments import REPOSITORY
from tests.pages import DATA, DOCS, SWITCHING, metrics, snippet
from train import fields
from train.weights import keras_files, pretrained

SDK2, SDK3 = ("sdk2", "sdk2-detection", "sdk2-segmentation"), ("sdk3", "sdk3-cloud")


@pytest.mark.parametrize(
    ("algorithm", "values"),
    [
        (
            "image-classification",
            {
                "train:accuracy": "0.375000",
                "validation:accuracy": "0.427885",
                "validation:top_k_accuracy": "0.750000",
                "train:time": "8.095",
            },
        ),
        (
            "image-classification-tensorflow",
            {
                "train:accuracy": "0.675000",
                "validation:accuracy": "0.727885",
                "validation:top_k_accuracy": "0.850000",
                "train:time": "5.095",
            },
        ),
        (
            "object-detection",
            {
                "validation:mAP": "0.14241012268647157",
                "train:cross_entropy": "1.100300321111984",
                "train:smooth_l1": "0.6384831165698124",
                "train:throughput": "8.03",
                "train:progress": "6",
            },
        ),
        (
            "semantic-segmentation",
            {
                "validation:mIOU": "0.5071756876186732",
                "validation:pixel_accuracy": "0.8680389368603801",
                "train:loss": "0.5774439905665449",
                "train:throughput": "8.55140318802",
                "validation:throughput": "22.0173293216",
                "train:progress": "10",
            },
        ),
    ],
)
def test_each_metric_definition_finds_its_number_in_one_line_of_the_log(algorithm: str, values: dict[str, str]) -> None:
    lines, definitions = metrics(algorithm)
    found = {one["Name"]: [hit[1] for line in lines if (hit := re.search(one["Regex"], line))] for one in definitions}
    assert found == {name: [value] for name, value in values.items()}


def test_the_page_on_switching_has_definitions_of_the_page_on_metrics() -> None:
    pairs = set(re.findall(r'\{"Name": "(.+?)", "Regex": r"(.+?)"\}', SWITCHING.read_text(encoding="utf-8")))
    assert {name for name, _ in pairs} == {"validation:accuracy", "validation:mAP", "validation:mIOU"}
    algorithms = ("image-classification", "object-detection", "semantic-segmentation")
    known = [one for algorithm in algorithms for one in metrics(algorithm)[1]]
    assert pairs <= {(one["Name"], one["Regex"]) for one in known}


def test_the_readme_clones_and_builds_before_what_needs_it() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    first = readme.partition("## Two commands")[2].partition("\n## ")[0]
    assert re.findall("apt-get update|git clone|make demo", first)[:3] == ["apt-get update", "git clone", "make demo"]
    steps = readme.partition("## Without a notebook")[2].partition("\n## ")[0]
    commands = re.findall(r"^    (make \S+|python3 -m local \w+|docker run)", steps, re.MULTILINE)
    assert commands[:2] == ["make envs", "make build/image-classification"]
    local = [command.removeprefix("python3 -m local ") for command in commands[2:]]
    assert local == ["prepare", "inspect", "train", "deploy", "predict", "docker run", "docker run"]


@pytest.mark.parametrize("page", ["README.md", "docs/switching.md", "docs/local-mode.md"])
def test_pages_build_an_image_before_they_train_it_step_by_step(page: str) -> None:
    sections = re.split(r"^## ", (REPOSITORY / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    steps = [(section, name) for section in sections for name in re.findall(r"-m local train ([\w-]+)", section)]
    assert steps
    for section, name in steps:
        assert f"make envs build/{name}`" in section or f"    make build/{name} " in section, name


@pytest.mark.parametrize("page", ["README.md", "docs/serving.md"])
def test_a_page_that_lists_the_servers_variables_lists_all_of_them(page: str) -> None:
    of_the_start = {settings.CONVERTED, settings.LISTENER, settings.LIST_OF_MODELS}
    values = {value for value in vars(settings).values() if isinstance(value, str)}
    read = {value for value in values if re.fullmatch(r"(SAGEMAKER|VISION)_[A-Z_]+", value)} - of_the_start
    assert settings.MULTI_MODEL in read
    rows = re.findall(r"^\| (`[A-Z_, `]+`) \|", (REPOSITORY / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert read <= set(re.findall(r"[A-Z_]+", " ".join(rows)))


def test_links_between_pages_lead_to_files_and_headings_that_exist() -> None:
    pages = [*REPOSITORY.glob("*.md"), *DOCS.glob("*.md"), *(REPOSITORY / "examples").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\((?!https?:)(\S+?)\)", page.read_text("utf-8"))]
    assert links
    for page, link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)", target.read_text("utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, f"{page.name}: {link}"


def test_files_of_a_run_of_ones_own_count_the_photos_that_the_demo_draws() -> None:
    hyperparameters = re.search(r"hyperparameters\.json <<'END'\n(.*?)END", snippet("own-run", DATA), re.DOTALL)
    assert hyperparameters
    set_ = json.loads(hyperparameters[1])
    trainval, _ = algorithms.get("image-classification").photos_to_draw
    assert (set_["num_classes"], set_["num_training_samples"]) == (str(len(BREEDS)), str(len(BREEDS) * trainval))


def test_the_page_on_weights_has_the_networks_and_the_forms_of_file_of_every_image() -> None:
    page = (DOCS / "pretrained.md").read_text(encoding="utf-8")
    asked = dict(re.findall(r"^\| ([\w-]+) \| (`.+?`.*?) \|", page.partition("## Where weight files")[0], re.MULTILINE))
    assert list(asked) == list(TRAINING)
    for name, words in asked.items():
        parameter = re.match(r"`(\w+)`", words)
        assert parameter
        hyperparameters = importlib.import_module(f"train.{name.replace('-', '_')}.hyperparameters")
        assert parameter[1] in fields.rows(hyperparameters.ACCEPTED), (name, words)
    others = page.partition("## Other files")[2].partition("\n## ")[0]
    assert all(f"`{suffix}`" in others for suffix in (*pretrained.TORCHVISION.suffixes, *keras_files.SUFFIXES))
    assert "not built yet" not in page


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MagicMock:
    """In place of both SDKs: an object that notes what is called. The current folder holds channels and no photo."""
    noting = MagicMock(name="sdk")
    for module in (
        *("sagemaker", "sagemaker.estimator", "sagemaker.inputs", "sagemaker.core", "sagemaker.core.local"),
        *("sagemaker.core.local.local_session", "sagemaker.train", "sagemaker.train.configs"),
        *("sagemaker.train.model_trainer", "sagemaker.core.resources", "sagemaker.core.shapes"),
    ):
        monkeypatch.setitem(sys.modules, module, noting)
    (tmp_path / "channels" / "train").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return noting


def called(sdk: MagicMock) -> list[str]:
    """The methods that were called, by name, in order."""
    return [name.rpartition(".")[2] for name, _, _ in sdk.mock_calls]


@pytest.mark.parametrize("name", [*SDK2, *SDK3])
def test_a_photo_that_is_missing_is_found_before_anything_is_trained(sdk: MagicMock, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"photo\.jpg"):
        exec(snippet(name), {})
    assert not {"fit", "train", "deploy", "create_endpoint", "create"} & set(called(sdk))


@pytest.mark.parametrize("name", [*SDK2, *SDK3])
def test_an_endpoint_that_refuses_the_photo_is_deleted_all_the_same(sdk: MagicMock, name: str) -> None:
    Path("photo.jpg").write_bytes(b"photo")
    sdk.Estimator().deploy().predict.side_effect = ValueError("refused")
    sdk.LocalSession().sagemaker_runtime_client.invoke_endpoint.side_effect = ValueError("refused")
    sdk.Endpoint.create().invoke.side_effect = ValueError("refused")
    with pytest.raises(ValueError, match="refused"):
        exec(snippet(name), {})
    deleted = ["delete", "delete", "delete"] if name == "sdk3-cloud" else ["delete_endpoint"]
    assert called(sdk)[-len(deleted) :] == deleted
