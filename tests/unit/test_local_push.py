"""`push` up to the registry: what is checked, what the Docker engine gets, and how its errors are reported.

Fake servers on loopback take the place of the Docker engine and, with moto, of AWS. tests/images/test_push.py uses the
real engine and a real registry.
"""

import base64
import dataclasses
import http.server
import json
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import __main__ as command
from local.registry.docker_engine import DOCKER_MANIFEST
from tests.unit.loopback import serving

DIGEST = f"sha256:{'1' * 64}"
ADDRESS = "registry.example:5000/vision"
ON_ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team"


@dataclasses.dataclass
class Engine:
    """A fake Docker engine: its images, its responses, and the requests that it got."""

    images: set[str] = dataclasses.field(default_factory=set)
    error: str = ""
    """An error that ends the push."""
    digest: str = DIGEST
    digest_in_registry: str = DIGEST
    media_type: str = DOCKER_MANIFEST
    requests: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    """Path and credentials of each push and each query of the registry."""

    def respond(self, path: str) -> tuple[int, list[dict[str, object]]]:
        if path.endswith("/version"):
            return 200, [{"ApiVersion": "1.45"}]
        if path.endswith("/push"):
            sent = {"status": "Pushing", "id": "layer", "progressDetail": {"current": 10, "total": 10}}
            last = {"error": self.error} if self.error else {"aux": {"Digest": self.digest}}
            return 200, [sent, last] if self.digest or self.error else [sent]
        if "/distribution/" in path:
            return 200, [{"Descriptor": {"mediaType": self.media_type, "digest": self.digest_in_registry, "size": 1}}]
        reference = path.partition("/images/")[2].removesuffix("/json")
        return (200, [{"Id": "x"}]) if reference in self.images else (404, [{"message": f"No such image: {reference}"}])


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Engine]:
    """An engine at DOCKER_HOST that has the image `inference` of both registries, without any `docker login`."""
    fake = Engine({f"{ADDRESS}/inference:dev", f"{ON_ECR}/inference:dev"})

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parsed = urllib.parse.urlsplit(self.path)
            path = urllib.parse.unquote(parsed.path)
            if path.endswith("/push") or "/distribution/" in path:
                fake.requests.append((self.path, self.headers.get("X-Registry-Auth", "")))
            status, lines = fake.respond(path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            # Like the engine. Its client reads events in no other encoding.
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for line in lines:
                chunk = json.dumps(line).encode() + b"\r\n"
                self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    with serving(Handler) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        yield fake


def push(*arguments: str, registry: str = ADDRESS) -> int:
    return command.main(["push", *(arguments or ("inference",)), "--registry", registry])


def test_standard_output_is_the_image_uri_by_tag_and_by_digest(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push() == 0
    assert capsys.readouterr().out == f"{ADDRESS}/inference:dev\n{ADDRESS}/inference@{DIGEST}\n"
    assert [path.partition("/v1.45")[2] for path, _ in engine.requests] == [
        f"/images/{ADDRESS}/inference/push?tag=dev",
        f"/distribution/{ADDRESS}/inference:dev/json",
    ]


def test_nothing_is_pushed_unless_every_image_is_built(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert push("inference", "object-detection") == 2
    assert engine.requests == []
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        f"push: the image {ADDRESS}/object-detection:dev is not on this machine: build it with "
        f"`make build/object-detection REGISTRY={ADDRESS} TAG=dev`\n"
    )


def test_gpu_images_are_pushed_with_their_own_tags(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert push("inference", "--variant=gpu") == 0
    assert capsys.readouterr().out.startswith(f"{ADDRESS}/inference:dev\n")
    assert push("object-detection", "--variant=gpu") == 2
    assert capsys.readouterr().err == (
        f"push: the image {ADDRESS}/object-detection:dev-gpu is not on this machine: build it with "
        f"`make build/object-detection REGISTRY={ADDRESS} TAG=dev VARIANT=gpu`\n"
    )


@pytest.mark.parametrize("tag", ["", ".1", "-1", "a b", "a/b", "a:b", "ä", "x" * 129])
def test_an_invalid_tag_is_rejected_with_the_allowed_characters(
    engine: Engine, capsys: pytest.CaptureFixture[str], tag: str
) -> None:
    assert push("inference", f"--tag={tag}") == 2
    assert capsys.readouterr().err.startswith(f"push: TAG={tag} is not a valid tag: use up to 128 letters, digits")
    assert engine.requests == []


@pytest.mark.parametrize(
    ("registry", "message"),
    [
        ("https://registry.example/vision", "has a scheme: remove it, as in registry.example/vision"),
        ("registry.example/Vision", "is not a valid registry: give HOST[:PORT][/path], with the path in lower case"),
        ("registry.example/vision/", "is not a valid registry"),
        ("registry.example:port", "is not a valid registry"),
        ("ACCOUNT.dkr.ecr.REGION.amazonaws.com/team", "is not an address of Amazon ECR: give ACCOUNT.dkr.ecr.REGION"),
    ],
)
def test_an_invalid_registry_is_rejected_with_the_expected_form(
    engine: Engine, capsys: pytest.CaptureFixture[str], registry: str, message: str
) -> None:
    assert push(registry=registry) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"push: REGISTRY={registry.partition('/')[0]}")
    assert message in stderr


def test_a_missing_engine_is_reported_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # free again after the block, so that nothing listens there
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    assert push() == 2
    assert capsys.readouterr().err.startswith(
        "push: cannot connect to Docker: start the engine, or set DOCKER_HOST; Docker "
    )


# Errors of Docker Engine 26, and of Debian's docker-registry, ECR and Docker Hub, as the engine passes them on.
ENGINE_ERRORS = {
    "write /var/lib/docker/tmp/x: no space left on device": f"the disk is full, so {ADDRESS}/inference:dev cannot be "
    "pushed: free",
    "The image tag 'dev' already exists in the 'vision/inference' repository and cannot be overwritten because the "
    "repository is immutable.": "TAG=dev exists in vision/inference and cannot be overwritten",
    "denied: Your authorization token has expired. Reauthenticate and try again.": f"REGISTRY={ADDRESS}: the login has "
    "expired: run `docker login registry.example:5000`",
    "no basic auth credentials": f"REGISTRY={ADDRESS} requires a login: run `docker login registry.example:5000`",
    "unauthorized: incorrect username or password": f"REGISTRY={ADDRESS} rejects the login: run `docker login",
    "denied: requested access to the resource is denied": f"REGISTRY={ADDRESS} denies the push to vision/inference:",
    "denied: User: arn:aws:iam::1:user/x is not authorized to perform: ecr:InitiateLayerUpload": "REGISTRY="
    f"{ADDRESS} denies the push to vision/inference: give the user of `docker login`",
    "name unknown: The repository with name 'vision/inference' does not exist in the registry": f"REGISTRY={ADDRESS} "
    "has no repository vision/inference: create it first",
    'Get "https://registry.example:5000/v2/": tls: failed to verify certificate: x509: unknown authority': "REGISTRY="
    f"{ADDRESS} has a certificate that the Docker engine does not trust: put its CA into /etc/docker/certs.d/",
    'Get "https://registry.example:5000/v2/": http: server gave HTTP response to HTTPS client': f"REGISTRY={ADDRESS} "
    "uses HTTP, not HTTPS: add registry.example:5000 to the Docker engine's insecure-registries",
    'Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: connection refused': f"REGISTRY={ADDRESS} does not "
    "respond to the Docker engine: check host, port and network",
    "dial tcp: lookup registry.example: no such host": f"REGISTRY={ADDRESS} does not respond to the Docker engine",
    "received unexpected HTTP status: 503 Service Unavailable": f"REGISTRY={ADDRESS} failed: check its log",
}


@pytest.mark.parametrize("error", ENGINE_ERRORS)
def test_errors_of_the_engine_are_reported_with_a_fix(
    engine: Engine, capsys: pytest.CaptureFixture[str], error: str
) -> None:
    engine.error = error
    assert push() == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"push: {ENGINE_ERRORS[error]}")
    assert stderr.endswith(f"; Docker reported: {error}\n")


def test_unknown_errors_of_the_engine_are_passed_on(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.error = "blob upload invalid"
    assert push() == 1
    expected = f"push: {ADDRESS}/inference:dev could not be pushed; Docker reported: blob upload invalid\n"
    assert capsys.readouterr() == ("", expected)


def test_a_push_without_a_digest_fails(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.digest = ""
    assert push() == 1
    assert "reported no digest: push again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("application/vnd.oci.image.manifest.v1+json", "an OCI manifest (application/vnd.oci."),
        ("application/vnd.oci.image.index.v1+json", "an OCI index, which attestations or several platforms produce"),
        ("application/vnd.docker.distribution.manifest.list.v2+json", "a manifest list"),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", "application/vnd.docker.distribution.manifest"),
    ],
)
def test_a_manifest_type_that_sagemaker_rejects_fails_the_push_with_the_fix(
    engine: Engine, capsys: pytest.CaptureFixture[str], media_type: str, kind: str
) -> None:
    engine.media_type = media_type
    assert push() == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"push: {ADDRESS}/inference:dev is {kind}")
    assert f"SageMaker accepts only {DOCKER_MANIFEST}: build it with `make build/inference REGISTRY=" in output.err


def test_a_tag_that_another_push_has_moved_is_an_error(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.digest_in_registry = f"sha256:{'2' * 64}"
    assert push() == 1
    assert "another push has replaced it; push with another TAG=" in capsys.readouterr().err


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """moto in place of AWS, and credentials for it."""
    for name, value in {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def test_the_ecr_password_goes_only_to_the_engine(
    engine: Engine, aws: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(registry=ON_ECR) == 0
    auths = [json.loads(base64.urlsafe_b64decode(auth)) for _, auth in engine.requests]
    assert len(auths) == 2
    assert all(auth["username"] == "AWS" and auth["password"] for auth in auths)
    assert list(tmp_path.rglob("*")) == []
    output = capsys.readouterr()
    assert auths[0]["password"] not in output.out + output.err
    assert output.out == f"{ON_ECR}/inference:dev\n{ON_ECR}/inference@{DIGEST}\n"
    assert output.err == (
        "Created the repository team/inference in account 123456789012, region eu-central-1, with scan on push.\n"
    )


def test_a_denied_push_to_ecr_names_the_permissions_and_the_repositorys_policy(
    engine: Engine, aws: None, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.error = "denied: User: arn:aws:iam::1:user/x is not authorized to perform: ecr:PutImage"
    assert push(registry=ON_ECR) == 2
    assert (
        f"push: REGISTRY={ON_ECR} denies the push to team/inference: allow these ECR actions for the caller and in the "
        "repository's policy: GetAuthorizationToken"
    ) in capsys.readouterr().err
