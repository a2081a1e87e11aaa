"""Finding pretrained weights, and the errors if they are missing."""

import functools
import hashlib
import http.server
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from train.errors import UserError
from train.weights.pretrained import _first_kernel, find

OPTIONS = ["channel named 'pretrained'", "make build PRETRAINED=DIR", "PRETRAINED_URL and PRETRAINED_SHA256"]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder that holds downloads."""
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a local server, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""

    def do_GET(self) -> None:
        """Respond like the base class, but send only half of the announced bytes for /short..."""
        if not self.path.startswith("/short"):
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "2000000")
        self.end_headers()
        self.wfile.write(bytes(1_000_000))
        return None


def _touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"any")
    return folder


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_channel_has_priority_over_the_image_and_the_image_over_the_url(tmp_path: Path) -> None:
    channel, image = (_touch(tmp_path / name, "resnet18.safetensors") for name in ("channel", "image"))
    url = _touch(tmp_path / "url", "resnet18.safetensors") / "resnet18.safetensors"
    environ = {"PRETRAINED_URL": url.as_uri(), "PRETRAINED_SHA256": _sum(b"any"), "VISION_PRETRAINED_DIR": str(image)}
    assert find(channel, "resnet18", environ).parent == channel
    assert find(None, "resnet18", environ).parent == image
    (image / "resnet18.safetensors").rename(image / "resnet50.safetensors")
    assert find(None, "resnet18", environ) == url


def test_missing_weights_give_an_error_with_the_three_sources(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find(None, "resnet50", {"VISION_PRETRAINED_DIR": str(tmp_path)})
    for option in (*OPTIONS, "resnet50.safetensors", str(tmp_path), "use_pretrained_model=0"):
        assert option in str(caught.value)


def test_a_channel_without_weights_is_an_error_even_if_the_image_has_them(tmp_path: Path) -> None:
    channel = _touch(tmp_path / "channel", "resnet50.safetensors", "README.md")
    image = _touch(tmp_path / "image", "resnet18.safetensors")
    with pytest.raises(UserError, match=r"has no weights of resnet18: it holds README.md, resnet50.safetensors; put"):
        find(channel, "resnet18", {"VISION_PRETRAINED_DIR": str(image)})


@pytest.mark.parametrize("network", ["resnet18", "resnet152", "vgg16"])
def test_errors_name_the_file_to_provide_without_referring_to_the_documentation(network: str, tmp_path: Path) -> None:
    folder = _touch(tmp_path / "channel", "README.md")
    for call in (
        lambda: find(folder, network, {}),
        lambda: find(None, network, {"VISION_PRETRAINED_DIR": str(folder)}),
    ):
        with pytest.raises(UserError) as caught:
            call()
        assert f"{network}.safetensors" in str(caught.value)
        assert f"model.safetensors of huggingface.co/timm/{network}.tv_in1k" in str(caught.value)
        assert "docs/" not in str(caught.value)


def test_no_source_is_named_for_a_network_without_one(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find(_touch(tmp_path / "channel", "README.md"), "resnet200", {})
    assert "put resnet200.safetensors there, with the tensors of timm's resnet200" in str(caught.value)
    assert "huggingface" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"VISION_PRETRAINED_DIR={tmp_path}/none is not a folder"):
        find(None, "resnet18", {"VISION_PRETRAINED_DIR": f"{tmp_path}/none"})


def test_small_image_networks_have_no_pretrained_weights(tmp_path: Path) -> None:
    channel = _touch(tmp_path / "channel", "cifar_resnet20.safetensors")
    with pytest.raises(UserError, match=r"cifar_resnet20 has no pretrained weights: they exist for resnet18, resnet34"):
        find(channel, "cifar_resnet20", {})


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["model.safetensors", "config.json", "README.md", "pytorch_model.bin"], "model.safetensors"),
        (["resnet18_v1b-0757602.params", "resnet50_v1b-0ecdba34.params"], "resnet18_v1b-0757602.params"),
        (["resnet18.safetensors", "resnet18_v1b-0757602.params", "other.safetensors"], "resnet18.safetensors"),
        (["resnet18-f37072fd.safetensors", "resnet18d.safetensors", ".resnet18.safetensors"],
         "resnet18-f37072fd.safetensors"),
    ],
)  # fmt: skip
def test_the_file_named_after_the_network_is_preferred_to_one_without_a_name(
    names: list[str], chosen: str, tmp_path: Path
) -> None:
    assert find(_touch(tmp_path / "channel", *names), "resnet18", {}).name == chosen


def test_vgg16_with_normalisation_is_not_vgg16(tmp_path: Path) -> None:
    channel = _touch(tmp_path / "channel", "vgg16_bn-6c64b313.safetensors", "vgg19.safetensors", "resnet18.safetensors")
    with pytest.raises(UserError, match="has no weights of vgg16: it holds"):
        find(channel, "vgg16", {})
    _touch(channel, "vgg16-397923af.safetensors")
    assert find(channel, "vgg16", {}).name == "vgg16-397923af.safetensors"


def test_two_possible_files_are_an_error(tmp_path: Path) -> None:
    channel = _touch(tmp_path / "channel", "a.safetensors", "b.safetensors")
    with pytest.raises(UserError, match=r"2 files that may be weights of resnet18 \(a.safetensors, b.safetensors\)"):
        find(channel, "resnet18", {})


@pytest.mark.parametrize("name", ["resnet18-f37072fd.pth", "pytorch_model.bin"])
def test_a_pickle_is_rejected_with_two_lines_of_code_that_convert_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find(_touch(tmp_path / "channel", name), "resnet18", {})
    first, *lines = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path}/channel/{name} is a PyTorch pickle")
    assert [line.split("(")[0].strip() for line in lines] == [
        "import torch, safetensors.torch", "safetensors.torch.save_file",
    ]  # fmt: skip
    assert f'torch.load("{name}", weights_only=True)' in lines[1]


def test_a_url_is_downloaded_only_once(served: tuple[str, Path], kept: Path) -> None:
    address, folder = served
    (folder / "model.safetensors").write_bytes(b"weights")
    environ = {"PRETRAINED_URL": f"{address}/model.safetensors?token=secret", "PRETRAINED_SHA256": _sum(b"weights")}
    path = find(None, "resnet18", environ)
    assert path.parent == kept
    assert path.read_bytes() == b"weights"
    (folder / "model.safetensors").unlink()
    assert find(None, "resnet18", environ) == path
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="returned 404"):
        find(None, "resnet18", environ)


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_a_wrong_checksum_is_an_error_with_both_checksums(scheme: str, served: tuple[str, Path], kept: Path) -> None:
    address, folder = served
    (folder / "w.params").write_bytes(b"other")
    url = f"{address}/w.params" if scheme == "http" else (folder / "w.params").as_uri()
    with pytest.raises(UserError) as caught:
        find(None, "resnet18", {"PRETRAINED_URL": url, "PRETRAINED_SHA256": _sum(b"weights")})
    assert str(caught.value).startswith(f"PRETRAINED_URL={url} has SHA-256 {_sum(b'other')}")
    assert _sum(b"weights") in str(caught.value)
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("checksum", ["", "abc", "g" * 64])
def test_a_url_needs_a_checksum(checksum: str) -> None:
    environ = {"PRETRAINED_URL": "https://example.invalid/w.params", "PRETRAINED_SHA256": checksum}
    with pytest.raises(UserError, match=f"^PRETRAINED_SHA256='{checksum}' is not 64 hexadecimal digits"):
        find(None, "resnet18", environ)


def test_an_unreachable_url_is_reported_without_its_signature(kept: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # refuses connections, because it does not listen
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/w.params"
        with pytest.raises(UserError) as caught:
            find(None, "resnet18", {"PRETRAINED_URL": f"{url}?X-Amz-Signature=5ec3e7", "PRETRAINED_SHA256": "0" * 64})
    assert str(caught.value).startswith(f"PRETRAINED_URL={url} cannot be read (")
    assert "refused" in str(caught.value)
    assert "channel 'pretrained'" in str(caught.value)
    assert "5ec3e7" not in str(caught.value)
    assert list(kept.iterdir()) == []


def test_a_truncated_download_is_reported_with_its_size(served: tuple[str, Path], kept: Path) -> None:
    with pytest.raises(UserError, match="ended after 1000000 of 2000000 bytes"):
        find(None, "resnet18", {"PRETRAINED_URL": f"{served[0]}/short.params", "PRETRAINED_SHA256": "0" * 64})
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://bucket/w.params", "is neither https://, http:// nor file://"),
        ("file:///nowhere/w.params", "is not a file in this container"),
        ("http://127.0.0.1:port/w.params", "cannot be read"),
        ("http://me:hidden@127.0.0.1/w.params", "has a user name"),
    ],
)
def test_invalid_urls_are_rejected_without_repeating_a_password(url: str, reason: str, kept: Path) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        find(None, "resnet18", {"PRETRAINED_URL": url, "PRETRAINED_SHA256": "0" * 64})
    assert "hidden" not in str(caught.value)


def test_a_downloaded_weight_file_may_have_any_name(served: tuple[str, Path], kept: Path) -> None:
    save_file({"a": np.zeros(1, np.float32)}, served[1] / "we ird;name")
    content = (served[1] / "we ird;name").read_bytes()
    path = find(None, "resnet18", {"PRETRAINED_URL": f"{served[0]}/we%20ird;name", "PRETRAINED_SHA256": _sum(content)})
    assert path.read_bytes() == content
    assert " " not in path.name


def test_the_first_kernel_compensates_for_a_scaled_input() -> None:
    rng = np.random.default_rng(3)
    kernel, scale = rng.normal(size=(4, 3, 3, 3)), rng.uniform(50, 60, (1, 3, 1, 1))
    image = rng.normal(size=(1, 3, 3, 3))
    fitted = _first_kernel(kernel, 3, scale)
    np.testing.assert_allclose((fitted * (image * scale)).sum((1, 2, 3)), (kernel * image).sum((1, 2, 3)))
    assert _first_kernel(kernel, 3, None) is kernel
