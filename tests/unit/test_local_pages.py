"""Code in docs/ that readers copy: metric definitions match the log, and notebooks fail early and clean up."""

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
def test_each_metric_definition_matches_one_line_of_the_log(algorithm: str, values: dict[str, str]) -> None:
    lines, definitions = metrics(algorithm)
    matches = {
        definition["Name"]: [match[1] for line in lines if (match := re.search(definition["Regex"], line))]
        for definition in definitions
    }
    assert matches == {name: [value] for name, value in values.items()}


def test_metric_definitions_in_switching_md_match_metrics_md() -> None:
    pairs = set(re.findall(r'\{"Name": "(.+?)", "Regex": r"(.+?)"\}', SWITCHING.read_text(encoding="utf-8")))
    assert {name for name, _ in pairs} == {"validation:accuracy", "validation:mAP", "validation:mIOU"}
    algorithms = ("image-classification", "object-detection", "semantic-segmentation")
    definitions = [definition for algorithm in algorithms for definition in metrics(algorithm)[1]]
    assert pairs <= {(definition["Name"], definition["Regex"]) for definition in definitions}


def test_the_readme_installs_and_clones_before_it_runs_the_demo() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    first = readme.partition("## Try it")[2].partition("\n## ")[0]
    assert re.findall("apt-get update|git clone|make demo", first)[:3] == ["apt-get update", "git clone", "make demo"]


def test_local_mode_step_by_step_goes_from_photos_to_predictions() -> None:
    page = (DOCS / "local-mode.md").read_text(encoding="utf-8")
    steps = page.partition("## Image classification")[2].partition("\n## ")[0]
    commands = re.findall(r"^python3 -m local (\w+)", steps, re.MULTILINE)
    assert commands == ["prepare", "inspect", "train", "deploy", "predict"]


def test_pictures_are_small_and_each_is_on_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in [REPOSITORY / "README.md", *DOCS.glob("*.md")])
    pictures = sorted((DOCS / "pictures").glob("*.jpg"))
    assert [picture.name for picture in pictures if f"pictures/{picture.name})" not in pages] == []
    assert [picture.name for picture in pictures if picture.stat().st_size >= 300_000] == []
    assert pictures


def test_the_readme_fits_on_a_page() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


@pytest.mark.parametrize("page", ["docs/switching.md", "docs/local-mode.md"])
def test_pages_build_an_image_before_they_train_with_it(page: str) -> None:
    sections = re.split(r"^## ", (REPOSITORY / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    steps = [(section, name) for section in sections for name in re.findall(r"-m local train ([\w-]+)", section)]
    assert steps
    for section, name in steps:
        assert f"make envs build/{name}`" in section or f"    make build/{name} " in section, name


def test_environment_md_lists_all_environment_variables_of_the_server() -> None:
    internal = {settings.CONVERTED, settings.LISTENER, settings.LIST_OF_MODELS}
    values = {value for value in vars(settings).values() if isinstance(value, str)}
    variables = {value for value in values if re.fullmatch(r"(SAGEMAKER|VISION)_[A-Z_]+", value)} - internal
    assert settings.MULTI_MODEL in variables
    rows = re.findall(r"^\| (`[A-Z_, `]+`) \|", (DOCS / "environment.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert variables <= set(re.findall(r"[A-Z_]+", " ".join(rows)))


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


def test_the_example_hyperparameters_match_the_photos_that_the_demo_draws() -> None:
    json_text = re.search(r"hyperparameters\.json <<'END'\n(.*?)END", snippet("own-run", DATA), re.DOTALL)
    assert json_text
    values = json.loads(json_text[1])
    trainval, _ = algorithms.get("image-classification").photos_to_draw
    assert (values["num_classes"], values["num_training_samples"]) == (str(len(BREEDS)), str(len(BREEDS) * trainval))


def test_pretrained_md_lists_the_networks_and_file_formats_of_every_image() -> None:
    page = (DOCS / "pretrained.md").read_text(encoding="utf-8")
    parameters = dict(
        re.findall(r"^\| ([\w-]+) \| (`.+?`.*?) \|", page.partition("## Where weight files")[0], re.MULTILINE)
    )
    assert list(parameters) == list(TRAINING)
    for name, description in parameters.items():
        parameter = re.match(r"`(\w+)`", description)
        assert parameter
        hyperparameters = importlib.import_module(f"train.{name.replace('-', '_')}.hyperparameters")
        assert parameter[1] in fields.rows(hyperparameters.ACCEPTED), (name, description)
    other_files = page.partition("## Other files")[2].partition("\n## ")[0]
    assert all(f"`{suffix}`" in other_files for suffix in (*pretrained.TORCHVISION.suffixes, *keras_files.SUFFIXES))
    assert "not built yet" not in page


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MagicMock:
    """A mock in place of both SDKs. The current folder holds channels and no photo."""
    mock = MagicMock(name="sdk")
    for module in (
        "sagemaker",
        "sagemaker.estimator",
        "sagemaker.inputs",
        "sagemaker.core",
        "sagemaker.core.local",
        "sagemaker.core.local.local_session",
        "sagemaker.core.resources",
        "sagemaker.core.shapes",
        "sagemaker.train",
        "sagemaker.train.configs",
        "sagemaker.train.model_trainer",
    ):
        monkeypatch.setitem(sys.modules, module, mock)
    (tmp_path / "channels" / "train").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return mock


def called(sdk: MagicMock) -> list[str]:
    """Return the names of the methods that were called, in order."""
    return [name.rpartition(".")[2] for name, _, _ in sdk.mock_calls]


@pytest.mark.parametrize("name", [*SDK2, *SDK3])
def test_a_missing_photo_is_detected_before_training_starts(sdk: MagicMock, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"photo\.jpg"):
        exec(snippet(name), {})
    assert not {"fit", "train", "deploy", "create_endpoint", "create"} & set(called(sdk))


@pytest.mark.parametrize("name", [*SDK2, *SDK3])
def test_the_endpoint_is_deleted_even_if_it_rejects_the_photo(sdk: MagicMock, name: str) -> None:
    Path("photo.jpg").write_bytes(b"photo")
    sdk.Estimator().deploy().predict.side_effect = ValueError("rejected")
    sdk.LocalSession().sagemaker_runtime_client.invoke_endpoint.side_effect = ValueError("rejected")
    sdk.Endpoint.create().invoke.side_effect = ValueError("rejected")
    with pytest.raises(ValueError, match="rejected"):
        exec(snippet(name), {})
    deleted = ["delete", "delete", "delete"] if name == "sdk3-cloud" else ["delete_endpoint"]
    assert called(sdk)[-len(deleted) :] == deleted
