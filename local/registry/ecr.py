"""Amazon ECR: recognizes its addresses, gets a password, and creates repositories.

The password stays in memory and is never written to a file.
"""

import base64
import contextlib
import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore import exceptions
from botocore.config import Config
from botocore.parsers import ResponseParserError

from local.errors import UserError

if TYPE_CHECKING:
    from botocore.client import BaseClient

ADDRESS_FORM = "ACCOUNT.dkr.ecr.REGION.amazonaws.com, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com"
_HOST = re.compile(r"(\d{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?)")
_ECR_LIKE = re.compile(r"\.dkr\.|(^|\.)amazonaws\.com(\.cn)?$", re.IGNORECASE)

GET_CREDENTIALS = (
    "run `aws configure` or `aws sso login`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
REQUIRED_ACTIONS = (
    "GetAuthorizationToken, DescribeRepositories, CreateRepository, BatchCheckLayerAvailability, InitiateLayerUpload, "
    "UploadLayerPart, CompleteLayerUpload, PutImage and BatchGetImage"
)
_EXPIRED_CODES = {"ExpiredTokenException", "ExpiredToken", "RequestExpired"}
_UNKNOWN_CODES = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "MissingAuthenticationTokenException",
    "InvalidAccessKeyId",
    "AuthFailure",
}
_DENIED_CODES = {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
_SIGN_IN_ERRORS = (
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
    exceptions.CredentialRetrievalError,
    exceptions.UnauthorizedSSOTokenError,
)
_CONFIGURATION_ERRORS = (
    exceptions.PartialCredentialsError,
    exceptions.ProfileNotFound,
    exceptions.ConfigParseError,
    exceptions.ConfigNotFound,
    exceptions.InvalidConfigError,
)


@dataclass(frozen=True)
class Registry:
    """An ECR registry: its host, account and region."""

    host: str
    account: str
    region: str


def parse(host: str) -> Registry | None:
    """Return the ECR registry of a host, None if it is not an ECR address.

    Raises UserError for a malformed ECR address: no 12-digit account, no region, an unknown region, or a domain that
    does not match the region.
    """
    match = _HOST.fullmatch(host)
    if not match:
        if _ECR_LIKE.search(host):
            raise UserError(f"REGISTRY={host} is not an address of Amazon ECR: give {ADDRESS_FORM}")
        return None
    account, region, ending = match.groups()
    registry = Registry(host, account, region)
    with _explain_errors(registry):  # the session reads the user's profile
        try:
            partition = botocore.session.get_session().get_partition_for_region(region)
        except exceptions.UnknownRegionError:
            raise UserError(f"REGISTRY={host} has the unknown region {region}: {_nearest(region)}") from None
    expected = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    if ending != expected:
        raise UserError(
            f"REGISTRY={host} ends in {ending}, but addresses in {region} end in {expected}: use "
            f"{host.removesuffix(ending)}{expected}"
        )
    return registry


def login(registry: Registry) -> dict[str, str]:
    """Return user name and password for the registry, valid for 12 hours, in the format of the Docker API.

    Raises UserError if there are no AWS credentials, AWS rejects them, or AWS does not respond.
    """
    with _explain_errors(registry):
        response = _client("ecr", registry).get_authorization_token()
    if not response.get("authorizationData"):  # boto3 parses a proxy's HTML page as an empty response
        raise UserError(
            f"REGISTRY={registry.host}: the response in region {registry.region} is not from AWS: check the proxy, and "
            "AWS_ENDPOINT_URL if it is set"
        )
    token = base64.b64decode(response["authorizationData"][0]["authorizationToken"]).decode()
    name, _, password = token.partition(":")
    return {"username": name, "password": password, "serveraddress": registry.host}


def create_repositories(registry: Registry, names: Sequence[str]) -> list[str]:
    """Create the repositories in `names` that do not exist, with scan on push, and return their names.

    Existing repositories are not changed. Raises UserError if AWS denies it.
    """
    client = _client("ecr", registry)
    created = []
    for name in names:
        with _explain_errors(registry):
            try:
                client.describe_repositories(registryId=registry.account, repositoryNames=[name])
            except client.exceptions.RepositoryNotFoundException:
                # Another push may have created it in the meantime.
                with contextlib.suppress(client.exceptions.RepositoryAlreadyExistsException):
                    client.create_repository(
                        registryId=registry.account,
                        repositoryName=name,
                        imageScanningConfiguration={"scanOnPush": True},
                    )
                    created.append(name)
    return created


def caller(registry: Registry) -> str:
    """Return the owner of the credentials as `; the credentials belong to ARN`; "" if AWS does not say.

    Most denials are due to a wrong account or role, which AWS does not always name.
    """
    try:
        identity = _client("sts", registry).get_caller_identity()
    except (exceptions.BotoCoreError, exceptions.ClientError, ResponseParserError):
        return ""
    mismatch = "" if identity["Account"] == registry.account else f", not to the registry's account {registry.account}"
    return f"; the credentials belong to {identity['Arn']}{mismatch}"


def _client(service: str, registry: Registry) -> "BaseClient":
    # Use the registry's region, because the environment may have another one or none.
    config = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "max_attempts": 3})
    with _explain_errors(registry):
        return boto3.Session(region_name=registry.region).client(service, config=config)


@contextlib.contextmanager
def _explain_errors(registry: Registry) -> Iterator[None]:
    """Convert boto3's exceptions into UserErrors that say how to fix the problem."""
    where = f"REGISTRY={registry.host}"
    try:
        yield
    except exceptions.NoCredentialsError:
        raise UserError(f"{where} is on AWS, but this machine has no AWS credentials: {GET_CREDENTIALS}") from None
    except _SIGN_IN_ERRORS as error:
        raise UserError(
            f"{where}: the AWS sign-in has expired or is not usable: run `aws sso login` again; AWS reported: {error}"
        ) from None
    except _CONFIGURATION_ERRORS as error:
        raise UserError(
            f"{where}: the AWS credentials are not configured correctly ({error}): {GET_CREDENTIALS}"
        ) from None
    except exceptions.ClientError as error:
        raise UserError(_refusal(registry, error.response["Error"])) from None
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise UserError(
            f"{where}: AWS does not respond in region {registry.region}: check the network and the region; "
            f"{_nearest(registry.region)}; boto3 reported: {error}"
        ) from None
    except exceptions.BotoCoreError as error:
        raise UserError(f"{where}: boto3 cannot send the request to AWS; boto3 reported: {error}") from None


def _refusal(registry: Registry, error: dict[str, Any]) -> str:
    code = error.get("Code", "an error")
    message = f"AWS reported: {error.get('Message', '')} ({error.get('Code', '')})"
    where = f"REGISTRY={registry.host}"
    if code in _EXPIRED_CODES:
        return (
            f"{where}: the AWS credentials have expired: get new ones, with `aws sso login` or the way you got these; "
            f"{message}"
        )
    if code in _UNKNOWN_CODES:
        return f"{where}: AWS does not recognize these credentials in {registry.region}: {GET_CREDENTIALS}; {message}"
    if code in _DENIED_CODES:
        fix = f"allow these ECR actions for the caller: {REQUIRED_ACTIONS}"
        return f"{where}: AWS denies this: {fix}; {message}{caller(registry)}"
    return f"{where}: AWS rejected the request with {code}: fix the problem in its message and push again; {message}"


def _nearest(region: str) -> str:
    """Return advice with similar region names."""
    session = botocore.session.get_session()
    known = [
        name
        for partition in session.get_available_partitions()
        for name in session.get_available_regions("ecr", partition_name=partition)
    ]
    if region in known:
        return f"{region} is a region of ECR"
    near = difflib.get_close_matches(region, known)
    return f"did you mean {' or '.join(near)}?" if near else "give one of AWS's regions, such as us-east-1"
