"""Amazon ECR: whether a registry is one, a password for it, and the repositories that a push needs.

The password stays in memory: it goes from AWS to the Docker engine with each request, and into no file.
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

FORM = "ACCOUNT.dkr.ecr.REGION.amazonaws.com (ACCOUNT of 12 digits, as in 123456789012.dkr.ecr.us-east-1.amazonaws.com)"
_HOST = re.compile(r"(\d{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?)")
_LIKE_ECR = re.compile(r"\.dkr\.|(^|\.)amazonaws\.com(\.cn)?$", re.IGNORECASE)

GET_CREDENTIALS = (
    "run `aws configure` or `aws sso login`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
NEEDED = (
    "GetAuthorizationToken, DescribeRepositories, CreateRepository, BatchCheckLayerAvailability, InitiateLayerUpload, "
    "UploadLayerPart, CompleteLayerUpload, PutImage and BatchGetImage"
)
_EXPIRED = {"ExpiredTokenException", "ExpiredToken", "RequestExpired"}
_UNKNOWN = {
    *("UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch"),
    *("IncompleteSignature", "MissingAuthenticationTokenException", "InvalidAccessKeyId", "AuthFailure"),
}
_DENIED = {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
_SIGN_IN = (
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
    exceptions.CredentialRetrievalError,
    exceptions.UnauthorizedSSOTokenError,
)
_SET_UP = (
    *(exceptions.PartialCredentialsError, exceptions.ProfileNotFound, exceptions.ConfigParseError),
    *(exceptions.ConfigNotFound, exceptions.InvalidConfigError),
)


@dataclass(frozen=True)
class Registry:
    """A registry of ECR by its host: whose it is, and where."""

    host: str
    account: str
    region: str


def parse(host: str) -> Registry | None:
    """The registry of ECR whose host this is, None for any other registry.

    Raises UserError for a host that is meant to be one and cannot be: no account of 12 digits, no region, a region
    that does not exist, or one whose addresses end otherwise.
    """
    match = _HOST.fullmatch(host)
    if not match:
        if _LIKE_ECR.search(host):
            raise UserError(f"REGISTRY={host} is not an address of Amazon ECR: give {FORM}")
        return None
    account, region, ending = match.groups()
    registry = Registry(host, account, region)
    with _explaining(registry):  # the session reads the user's profile
        try:
            partition = botocore.session.get_session().get_partition_for_region(region)
        except exceptions.UnknownRegionError:
            raise UserError(
                f"REGISTRY={host} has {region} for its region, and there is none: {_nearest(region)}"
            ) from None
    right = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    if ending != right:
        raise UserError(
            f"REGISTRY={host} ends in {ending}, but addresses in {region} end in {right}: write "
            f"{host.removesuffix(ending)}{right}"
        )
    return registry


def login(registry: Registry) -> dict[str, str]:
    """User name and password for the registry, good for 12 hours, in the form that the Docker engine takes.

    Raises UserError when AWS knows no credentials here, refuses them, or does not answer.
    """
    with _explaining(registry):
        answer = _client("ecr", registry).get_authorization_token()
    if not answer.get("authorizationData"):  # boto3 takes a proxy's page for an answer with nothing in it
        raise UserError(
            f"REGISTRY={registry.host}: what answers in region {registry.region} is not AWS: check the proxy, and "
            "AWS_ENDPOINT_URL if it is set"
        )
    token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
    name, _, password = token.partition(":")
    return {"username": name, "password": password, "serveraddress": registry.host}


def make_repositories(registry: Registry, names: Sequence[str]) -> list[str]:
    """Make those of the repositories `names` that are missing, with scan on push, and return their names.

    One that is there stays as it is. Raises UserError when that is not allowed.
    """
    client = _client("ecr", registry)
    made = []
    for name in names:
        with _explaining(registry):
            try:
                client.describe_repositories(registryId=registry.account, repositoryNames=[name])
            except client.exceptions.RepositoryNotFoundException:
                # Another push may have been faster: then it is there, which is what was wanted.
                with contextlib.suppress(client.exceptions.RepositoryAlreadyExistsException):
                    client.create_repository(
                        registryId=registry.account,
                        repositoryName=name,
                        imageScanningConfiguration={"scanOnPush": True},
                    )
                    made.append(name)
    return made


def caller(registry: Registry) -> str:
    """Whose credentials these are, as `; the credentials are those of ARN`; empty when AWS does not tell.

    A denial is most often one of the wrong account or role, and not every message of AWS names it.
    """
    try:
        identity = _client("sts", registry).get_caller_identity()
    except (exceptions.BotoCoreError, exceptions.ClientError, ResponseParserError):
        return ""
    other = "" if identity["Account"] == registry.account else f", not of the registry's account {registry.account}"
    return f"; the credentials are those of {identity['Arn']}{other}"


def _client(service: str, registry: Registry) -> "BaseClient":
    # The registry's region: that of the environment may be another one, or none.
    config = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "max_attempts": 3})
    with _explaining(registry):
        return boto3.Session(region_name=registry.region).client(service, config=config)


@contextlib.contextmanager
def _explaining(registry: Registry) -> Iterator[None]:
    """Turns what boto3 raises into a UserError whose first sentence has the fix."""
    where = f"REGISTRY={registry.host}"
    try:
        yield
    except exceptions.NoCredentialsError:
        raise UserError(f"{where} is on AWS, and there are no AWS credentials here: {GET_CREDENTIALS}") from None
    except _SIGN_IN as error:
        raise UserError(
            f"{where}: the AWS sign-in has expired or cannot be used: run `aws sso login` again; AWS said: {error}"
        ) from None
    except _SET_UP as error:
        raise UserError(f"{where}: the AWS credentials here are set up wrong ({error}): {GET_CREDENTIALS}") from None
    except exceptions.ClientError as error:
        raise UserError(_refusal(registry, error.response["Error"])) from None
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise UserError(
            f"{where}: AWS does not answer in region {registry.region}: check the network and the region; "
            f"{_nearest(registry.region)}; boto3 said: {error}"
        ) from None
    except exceptions.BotoCoreError as error:
        raise UserError(f"{where}: boto3 cannot ask AWS: fix what it names; boto3 said: {error}") from None


def _refusal(registry: Registry, error: dict[str, Any]) -> str:
    code, said = error.get("Code", "an error"), f"AWS said: {error.get('Message', '')} ({error.get('Code', '')})"
    where = f"REGISTRY={registry.host}"
    if code in _EXPIRED:
        return f"{where}: the AWS credentials have expired: get new ones (`aws sso login`, or as you got these); {said}"
    if code in _UNKNOWN:
        return f"{where}: AWS does not know these credentials in {registry.region}: {GET_CREDENTIALS}; {said}"
    if code in _DENIED:
        return f"{where}: AWS denies this: allow the caller ecr: {NEEDED}; {said}{caller(registry)}"
    return f"{where}: AWS refused with {code}: fix what its message names and push again; {said}"


def _nearest(region: str) -> str:
    """The region that was probably meant, as advice."""
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
