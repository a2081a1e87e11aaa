"""`make sbom`: the list of an image's packages, compared with the image."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from local import __main__ as program
from tests.images.container import output


@pytest.mark.parametrize("name", ["inference", "image-classification"])
def test_the_list_names_every_python_and_debian_package_once(
    image: Callable[[str], str], tmp_path: Path, name: str
) -> None:
    reference = image(name)
    assert program.main(["sbom", name, "--out", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.cdx.json"]
    listed = json.loads((tmp_path / f"{name}.cdx.json").read_text())
    assert listed["bomFormat"] == "CycloneDX"
    purls = [part["purl"] for part in listed["components"] if "purl" in part]
    code = "import importlib.metadata as m\nfor d in m.distributions(): print(d.name, d.version)"
    environments = ("serve",) if name == "inference" else ("serve", "train")
    pythons = " ".join(f"/opt/{environment}/bin/python" for environment in environments)
    installed = output(reference, "bash", "-c", f"for python in {pythons}; do $python -c '{code}'; done")
    packages = {tuple(line.lower().replace("_", "-").replace(".", "-").split()) for line in installed.splitlines()}
    pypi = [purl.removeprefix("pkg:pypi/") for purl in purls if purl.startswith("pkg:pypi/")]
    assert sorted(tuple(purl.replace(".", "-").split("@")) for purl in pypi) == sorted(packages)
    debian = output(reference, "dpkg-query", "--show", "--showformat=${Package}\\n")
    binary = {purl.split("/")[2].split("@")[0] for purl in purls if "pkg:deb/" in purl and "arch=source" not in purl}
    assert {package.replace("%2B", "+") for package in binary} == set(debian.split())
