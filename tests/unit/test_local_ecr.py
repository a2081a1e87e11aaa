"""ECR's part of `push`, against moto on loopback. A fake server gives the errors that moto cannot give.

Nothing here reaches AWS: the endpoint is always set, and no credentials of this machine are read.
"""

import http.server
import json
import os
import socket
from pathlib import Path

import boto3
import pytest

from local.errors import UserError
from local.registry import ecr
from tests.unit.loopback import serving

HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
REGISTRY = ecr.Registry(HOST, "123456789012", "eu-central-1")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, no profile, no region, and no way to reach AWS."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def fake_credentials(no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-testing")


@pytest.fixture
def aws(fake_credentials: None, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)


@pytest.mark.parametrize(
    ("host", "account", "region"),
    [
        (HOST, "123456789012", "eu-central-1"),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "123456789012", "us-gov-west-1"),
        ("000000000001.dkr.ecr.cn-north-1.amazonaws.com.cn", "000000000001", "cn-north-1"),
    ],
)
def test_account_and_region_are_read_from_an_ecr_host(host: str, account: str, region: str) -> None:
    assert ecr.parse(host) == ecr.Registry(host, account, region)


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "registry.example", "docker.io", "public.ecr.aws", "vision"])
def test_other_registries_are_not_taken_for_ecr(host: str) -> None:
    assert ecr.parse(host) is None


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("ACCOUNT.dkr.ecr.REGION.amazonaws.com", "is not an address of Amazon ECR: give ACCOUNT.dkr.ecr.REGION"),
        ("123456789012.dkr.ecr.REGION.amazonaws.com", "is not an address of Amazon ECR: give ACCOUNT.dkr.ecr.REGION"),
        ("12345.dkr.ecr.us-east-1.amazonaws.com", "is not an address of Amazon ECR"),
        ("123456789012.dkr.ecr.amazonaws.com", "is not an address of Amazon ECR"),
        ("123456789012.dkr.ecr.frankfurt.amazonaws.com", "has the unknown region frankfurt"),
        ("123456789012.dkr.ecr.uswest-2.amazonaws.com", "has the unknown region uswest-2: did you mean us-west-2"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com", "use 123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_an_invalid_ecr_host_is_rejected_with_the_expected_form(host: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        ecr.parse(host)
    assert str(error.value).startswith(f"REGISTRY={host} ")
    assert message in str(error.value)


def test_login_returns_credentials_for_the_engine_and_prints_no_password(
    aws: None, capfd: pytest.CaptureFixture[str]
) -> None:
    credentials = ecr.login(REGISTRY)
    assert (credentials["username"], credentials["serveraddress"]) == ("AWS", HOST)
    assert credentials["password"]
    assert capfd.readouterr() == ("", "")


def test_missing_repositories_are_created_once_in_the_registrys_region_with_scan_on_push(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert ecr.create_repositories(REGISTRY, ["vision/a", "vision/b"]) == ["vision/a", "vision/b"]
    assert ecr.create_repositories(REGISTRY, ["vision/a", "vision/c"]) == ["vision/c"]
    names = ["vision/a", "vision/b", "vision/c"]
    client = boto3.client("ecr", region_name="eu-central-1")
    repositories = client.describe_repositories(repositoryNames=names)["repositories"]
    assert all(repository["imageScanningConfiguration"] == {"scanOnPush": True} for repository in repositories)
    assert boto3.client("ecr", region_name="us-west-2").describe_repositories()["repositories"] == []


def test_an_existing_repository_keeps_its_settings(aws: None) -> None:
    client = boto3.client("ecr", region_name="eu-central-1")
    client.create_repository(repositoryName="kept", imageTagMutability="IMMUTABLE")
    assert ecr.create_repositories(REGISTRY, ["kept"]) == []
    kept = client.describe_repositories(repositoryNames=["kept"])["repositories"][0]
    assert (kept["imageTagMutability"], kept["imageScanningConfiguration"]) == ("IMMUTABLE", {"scanOnPush": False})


def test_the_caller_is_named_and_another_account_is_pointed_out(aws: None) -> None:
    own = ecr.caller(REGISTRY)
    assert own.startswith("; the credentials belong to arn:aws:")
    assert "not to the registry's account" not in own
    other = ecr.caller(ecr.Registry(HOST.replace("123456789012", "999999999999"), "999999999999", "eu-central-1"))
    assert other.endswith(", not to the registry's account 999999999999")


def login_error(registry: ecr.Registry = REGISTRY) -> str:
    with pytest.raises(UserError) as error:
        ecr.login(registry)
    return str(error.value)


def test_missing_credentials_are_reported_with_ways_to_get_them() -> None:
    assert login_error() == (
        f"REGISTRY={HOST} is on AWS, but this machine has no AWS credentials: run `aws configure` or `aws sso login`, "
        "or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )


def test_partial_credentials_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    assert login_error().startswith(
        f"REGISTRY={HOST}: the AWS credentials are not configured correctly (Partial credentials"
    )


def test_a_missing_profile_is_reported_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    with pytest.raises(
        UserError, match=r"not configured correctly \(The config profile \(nowhere\) could not be found\)"
    ):
        ecr.parse(HOST)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("ExpiredTokenException", "the AWS credentials have expired: get new ones, with `aws sso login`"),
        (
            "UnrecognizedClientException",
            "AWS does not recognize these credentials in eu-central-1: run `aws configure`",
        ),
        ("InvalidSignatureException", "AWS does not recognize these credentials in eu-central-1"),
        (
            "ServerException",
            "AWS rejected the request with ServerException: fix the problem in its message and push again",
        ),
    ],
)
def test_errors_of_aws_are_reported_with_a_fix(
    fake_credentials: None, monkeypatch: pytest.MonkeyPatch, code: str, advice: str
) -> None:
    with serving(failing(code)) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        message = login_error()
    assert message.startswith(f"REGISTRY={HOST}: {advice}")
    assert f"AWS reported: details from AWS ({code})" in message
    assert "secret-of-testing" not in message


def test_a_denial_names_the_permissions_and_the_caller(aws: None, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(failing("AccessDeniedException")) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto)
        message = login_error()
    assert message.startswith(
        f"REGISTRY={HOST}: AWS denies this: allow these ECR actions for the caller: GetAuthorizationToken, "
    )
    assert "; the credentials belong to arn:aws:" in message


def test_a_denial_is_reported_even_if_the_caller_is_unknown(
    fake_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(failing("AccessDeniedException")) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        message = login_error()
    assert message.endswith("AWS reported: details from AWS (AccessDeniedException)")


def test_a_response_from_a_proxy_instead_of_aws_is_reported(
    fake_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(failing("", page="<html>Blocked</html>")) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        message = login_error()
    assert message.startswith(f"REGISTRY={HOST}: the response in region eu-central-1 is not from AWS: check the proxy")


@pytest.mark.parametrize(
    ("region", "advice"), [("eu-centrall-1", "did you mean eu-central-1"), ("eu-central-1", "is a region of ECR")]
)
def test_an_unreachable_aws_is_reported_with_the_region_that_was_probably_meant(
    fake_credentials: None, monkeypatch: pytest.MonkeyPatch, region: str, advice: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # free again after the block, so that nothing listens there
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    message = login_error(ecr.Registry(HOST, "123456789012", region))
    assert message.startswith(f"REGISTRY={HOST}: AWS does not respond in region {region}: check the network and the ")
    assert advice in message


def failing(code: str, page: str = "") -> type[http.server.BaseHTTPRequestHandler]:
    """Return a handler that fails every request with this error code, or sends `page`, as a proxy does."""

    class Failing(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = (page or json.dumps({"__type": code, "message": "details from AWS"})).encode()
            self.send_response(200 if page else 400)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    return Failing
