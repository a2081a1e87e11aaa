"""`python3 -m local push NAME...`: push built images to a registry, and print their URIs for a notebook.

Works with any registry that you are logged in to with `docker login`. For Amazon ECR, the command logs in with the AWS
credentials of this machine and creates missing repositories, with scan on push. After the push it checks the manifest,
because SageMaker accepts only Docker's own manifest format.
"""

import argparse
import contextlib
import re
import sys

from local.commands import options
from local.errors import UserError
from local.images import IMAGES
from local.registry import ecr
from local.registry.docker_engine import Registry

# The grammar of Docker's references.
_ADDRESS = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    options.add_names(parser, IMAGES)
    parser.add_argument(
        "--registry", required=True, help=f"HOST[:PORT][/PATH], as in `make build REGISTRY=`; ECR: {ecr.ADDRESS_FORM}"
    )
    parser.add_argument("--tag", default="dev", help="tag, as in `make build TAG=` (default: dev)")
    options.add_variant(parser)


def run(args: argparse.Namespace) -> int:
    """Push the images and print two lines for each: its URI by tag and by digest.

    Raises UserError or CommandFailed. Nothing is pushed unless all images exist.
    """
    host = _check(args.registry, args.tag)
    on_ecr = ecr.parse(host)
    tags = {name: args.tag + IMAGES[name].suffix(args.variant) for name in args.names}
    with contextlib.closing(Registry(args.registry)) as registry:
        for name, tag in tags.items():
            registry.check_built(name, tag)
        if on_ecr:
            _prepare_ecr(on_ecr, registry, args.names)
        for name, tag in tags.items():
            digest = registry.push(name, tag)
            registry.check_manifest(name, tag, digest)
            print(f"{args.registry}/{name}:{tag}\n{args.registry}/{name}@{digest}", flush=True)
    return 0


def _check(registry: str, tag: str) -> str:
    """Return the registry's host. Raises UserError if the registry or the tag is not valid in an image reference."""
    if "://" in registry:
        raise UserError(f"REGISTRY={registry} has a scheme: remove it, as in {registry.partition('://')[2]}")
    host = registry.partition("/")[0]
    ecr.parse(host)  # first, because its errors are clearer for ECR addresses with placeholders (ACCOUNT.dkr.ecr...)
    if not _ADDRESS.fullmatch(registry):
        raise UserError(
            f"REGISTRY={registry} is not a valid registry: give HOST[:PORT][/path], with the path in lower case"
        )
    if not _TAG.fullmatch(tag):
        raise UserError(
            f"TAG={tag} is not a valid tag: use up to 128 letters, digits, _, . or -, and do not start with . or -"
        )
    return host


def _prepare_ecr(on_ecr: ecr.Registry, registry: Registry, names: list[str]) -> None:
    """Log in to ECR and create missing repositories."""
    registry.credentials = ecr.login(on_ecr)
    registry.login = f"{ecr.GET_CREDENTIALS}, then push again"
    registry.allow = f"allow these ECR actions for the caller and in the repository's policy: {ecr.REQUIRED_ACTIONS}"
    path = registry.address.partition("/")[2]
    for repository in ecr.create_repositories(on_ecr, [f"{path}/{name}".lstrip("/") for name in names]):
        where = f"account {on_ecr.account}, region {on_ecr.region}"
        print(f"Created the repository {repository} in {where}, with scan on push.", file=sys.stderr)
