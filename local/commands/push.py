"""`python3 -m local push NAME...`: push built images to a registry, and say what to paste into a notebook.

Any registry that `docker login` opened. In Amazon ECR the login is made with the AWS credentials of this machine, and
missing repositories are made, with scan on push. What was pushed is read back: SageMaker takes Docker's own form of
manifest alone.
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
    """The options of `push`."""
    options.add_names(parser, IMAGES)
    parser.add_argument(
        "--registry", required=True, help=f"HOST[:PORT][/PATH], as in `make build REGISTRY=`; ECR: {ecr.FORM}"
    )
    parser.add_argument("--tag", default="dev", help="as in `make build TAG=` (default: dev)")
    options.add_variant(parser)


def run(args: argparse.Namespace) -> int:
    """The command. Standard output gets two lines for each image, its URI by tag and by digest.

    Raises UserError or CommandFailed with the reason. Nothing is sent unless every image is there.
    """
    host = _check(args.registry, args.tag)
    on_ecr = ecr.parse(host)
    tags = {name: args.tag + IMAGES[name].suffix(args.variant) for name in args.names}
    with contextlib.closing(Registry(args.registry)) as registry:
        for name, tag in tags.items():
            registry.check_built(name, tag)
        if on_ecr:
            _open(on_ecr, registry, args.names)
        for name, tag in tags.items():
            digest = registry.push(name, tag)
            registry.check_manifest(name, tag, digest)
            print(f"{args.registry}/{name}:{tag}\n{args.registry}/{name}@{digest}", flush=True)
    return 0


def _check(registry: str, tag: str) -> str:
    """The host of the registry. Raises UserError unless it and the tag can be parts of an image's reference."""
    if "://" in registry:
        raise UserError(f"REGISTRY={registry} has a scheme: write it without, as {registry.partition('://')[2]}")
    host = registry.partition("/")[0]
    ecr.parse(host)  # says more of an address of ECR that is not filled in, ACCOUNT and REGION in capitals
    if not _ADDRESS.fullmatch(registry):
        raise UserError(f"REGISTRY={registry} cannot hold images: give HOST[:PORT][/path], the path in lower case")
    if not _TAG.fullmatch(tag):
        raise UserError(f"TAG={tag} cannot be a tag: give up to 128 letters, digits, _, . or -, but not . or - first")
    return host


def _open(on_ecr: ecr.Registry, registry: Registry, names: list[str]) -> None:
    """Log in to ECR and make the repositories that are missing."""
    registry.credentials = ecr.login(on_ecr)
    registry.login = f"{ecr.GET_CREDENTIALS}, then push again"
    registry.allow = f"allow the caller, and in the repository's policy, ecr: {ecr.NEEDED}"
    path = registry.address.partition("/")[2]
    for repository in ecr.make_repositories(on_ecr, [f"{path}/{name}".lstrip("/") for name in names]):
        where = f"account {on_ecr.account}, region {on_ecr.region}"
        print(f"Made the repository {repository} in {where}, with scan on push.", file=sys.stderr)
