"""A registry as the Docker engine reaches it: pushes an image, and asks the registry what it holds since.

Everything goes through the engine, so its own certificates, mirrors and insecure registries hold. Credentials are the
user's (`docker login`, credential helpers), or are handed in and live in memory alone.
"""

import re
from collections.abc import Mapping
from typing import Any

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, ImageNotFound

from local import images
from local.errors import CommandFailed, UserError
from local.progress import Progress
from local.sagemaker.docker import DockerError

# The only form that SageMaker takes.
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_KINDS = {
    "application/vnd.oci.image.manifest.v1+json": "an OCI manifest",
    "application/vnd.oci.image.index.v1+json": "an OCI index, as attestations and several platforms make it",
    "application/vnd.docker.distribution.manifest.list.v2+json": "a list of manifests, as several platforms make it",
}
# The engine tries an upload that fails again and again, and is silent while a registry takes in a large layer.
_TIMEOUT = 600

# What the engine says, in the order in which it is looked for; then what it means. A registry's own words come last.
_EXPLANATIONS = {
    "no space left on device": "no disk is left to push {image}: free some where the Docker engine keeps its images "
    "(`docker system df`) or where the registry does",
    "immutable|cannot be overwritten": "TAG={tag} is taken in {repository}, whose tags cannot be overwritten: build "
    "and push with another TAG=",
    "token has expired": "REGISTRY={registry}: the login has expired: {login}",
    "no basic auth credentials": "REGISTRY={registry} wants a login: {login}",
    "unauthorized|authentication required|incorrect username": "REGISTRY={registry} refuses the login: {login}",
    "denied|forbidden|not authorized|HTTP 403": "REGISTRY={registry} denies the push to {repository}: {allow}",
    "name unknown|name_unknown|repository .*does not exist": "REGISTRY={registry} has no repository {repository}: make "
    "it there first",
    "x509|certificate": "REGISTRY={registry} has a certificate that the Docker engine does not trust: put its CA into "
    "/etc/docker/certs.d/{host}/ca.crt",
    "HTTP response to HTTPS client": "REGISTRY={registry} speaks HTTP, not HTTPS: add {host} to insecure-registries of "
    "the Docker engine, or give the registry a certificate",
    "dial tcp|no such host|connection refused|connection reset|timeout|deadline exceeded|EOF|unreachable": "REGISTRY="
    "{registry} does not answer the Docker engine: check host, port and network, and that the registry runs",
    "HTTP status: 5|50[0-9] ": "REGISTRY={registry} failed: look into its log, and at its free disk",
}


class Registry:
    """HOST[:PORT][/PATH], through the Docker engine of this machine."""

    def __init__(self, address: str) -> None:
        """Raises DockerError when no engine answers."""
        self.address = address
        self.credentials: Mapping[str, str] | None = None
        """User name and password; None: the user's own of `docker login`."""
        self.login = f"run `docker login {address.partition('/')[0]}`, then push again"
        self.allow = "let the user of `docker login` push there, or make the repository if it has to exist first"
        try:
            self._api = docker.from_env(timeout=_TIMEOUT, use_ssh_client=True).api
        except DockerException as error:
            raise DockerError(f"no Docker engine answers: start it, or set DOCKER_HOST; docker said: {error}") from None

    def close(self) -> None:
        """Close the connections to the engine."""
        self._api.close()

    def check_built(self, name: str, tag: str) -> None:
        """Raise UserError unless the engine has the image NAME:TAG of this registry."""
        try:
            self._api.inspect_image(f"{self.address}/{name}:{tag}")
        except ImageNotFound:
            raise UserError(
                f"the image {self.address}/{name}:{tag} is not on this machine: build it with {self._build(name, tag)}"
            ) from None
        except (DockerException, requests.RequestException) as error:
            raise self._failure(name, tag, str(error)) from None

    def push(self, name: str, tag: str) -> str:
        """Push the image NAME:TAG and return the digest of its manifest, `sha256:...`.

        Raises UserError where the user can fix it, else CommandFailed, with what the engine said.
        """
        digest: str | None = None
        try:
            events = self._api.push(
                f"{self.address}/{name}", tag=tag, stream=True, decode=True, auth_config=self.credentials
            )
            with Progress(f"Pushing {name}", None, "B") as progress:
                sent: dict[str, int] = {}
                for event in events:
                    if "error" in event:
                        raise self._failure(name, tag, event["error"])
                    digest = event.get("aux", {}).get("Digest", digest)
                    if event.get("status") == "Pushing":
                        sent[event["id"]] = event.get("progressDetail", {}).get("current", 0)
                        progress.done(sum(sent.values()))
        except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise self._failure(name, tag, str(error)) from None
        if digest is None:
            raise CommandFailed(f"the Docker engine pushed {self.address}/{name}:{tag} and told no digest: push again")
        return digest

    def check_manifest(self, name: str, tag: str, digest: str) -> None:
        """Ask the registry what TAG is now.

        Raises CommandFailed unless it is `digest`, in the one form that SageMaker takes.
        """
        image = f"{self.address}/{name}:{tag}"
        try:
            answer: dict[str, Any] = self._api.inspect_distribution(image, auth_config=self.credentials)
        except (DockerException, requests.RequestException) as error:
            raise self._failure(name, tag, error.explanation if isinstance(error, APIError) else str(error)) from None
        held, media_type = answer["Descriptor"]["digest"], answer["Descriptor"]["mediaType"]
        if held != digest:
            raise CommandFailed(
                f"{image} is {held} in the registry, not {digest} as pushed: another push took the tag; give yours "
                "another TAG="
            )
        if media_type != DOCKER_MANIFEST:
            kind = f"{_KINDS[media_type]} ({media_type})" if media_type in _KINDS else media_type
            raise CommandFailed(
                f"{image} is {kind} in the registry, and SageMaker takes {DOCKER_MANIFEST} alone: build it with "
                f"{self._build(name, tag)}, or by `docker buildx build --provenance=false --sbom=false --output "
                f"type=image,name={image},oci-mediatypes=false`, then push again"
            )

    def _failure(self, name: str, tag: str, said: str) -> UserError | CommandFailed:
        """The explanation of what the engine said."""
        host, _, path = self.address.partition("/")
        words = {
            "registry": self.address,
            "host": host,
            "image": f"{self.address}/{name}:{tag}",
            "repository": f"{path}/{name}".lstrip("/"),
            "tag": tag,
            "login": self.login,
            "allow": self.allow,
        }
        for pattern, explanation in _EXPLANATIONS.items():
            if re.search(pattern, said, re.IGNORECASE):
                return UserError(f"{explanation.format(**words)}; docker said: {said}")
        return CommandFailed(f"{words['image']} could not be pushed; docker said: {said}")

    def _build(self, name: str, tag: str) -> str:
        return f"`make build/{name} REGISTRY={self.address} {images.variables(tag)}`"
