"""Pushes an image with the Docker engine, and checks the manifest in the registry.

All requests go through the engine, so that its certificates, mirrors and insecure registries apply. Credentials come
from the user's Docker configuration (`docker login`, credential helpers) or from the caller, and stay in memory.
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

# The only manifest format that SageMaker accepts.
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_KINDS = {
    "application/vnd.oci.image.manifest.v1+json": "an OCI manifest",
    "application/vnd.oci.image.index.v1+json": "an OCI index, which attestations or several platforms produce",
    "application/vnd.docker.distribution.manifest.list.v2+json": "a manifest list, which several platforms produce",
}
# Long, because the engine retries failed uploads and sends nothing while a registry processes a large layer.
_TIMEOUT = 600

# Patterns in the engine's error messages, in order of precedence, and our explanations.
_EXPLANATIONS = {
    "no space left on device": "the disk is full, so {image} cannot be pushed: free some space for the Docker engine "
    "(`docker system df`) or the registry",
    "immutable|cannot be overwritten": "TAG={tag} exists in {repository} and cannot be overwritten: build and push "
    "with another TAG=",
    "token has expired": "REGISTRY={registry}: the login has expired: {login}",
    "no basic auth credentials": "REGISTRY={registry} requires a login: {login}",
    "unauthorized|authentication required|incorrect username": "REGISTRY={registry} rejects the login: {login}",
    "denied|forbidden|not authorized|HTTP 403": "REGISTRY={registry} denies the push to {repository}: {allow}",
    "name unknown|name_unknown|repository .*does not exist": "REGISTRY={registry} has no repository {repository}: "
    "create it first",
    "x509|certificate": "REGISTRY={registry} has a certificate that the Docker engine does not trust: put its CA into "
    "/etc/docker/certs.d/{host}/ca.crt",
    "HTTP response to HTTPS client": "REGISTRY={registry} uses HTTP, not HTTPS: add {host} to the Docker engine's "
    "insecure-registries, or give the registry a certificate",
    "dial tcp|no such host|connection refused|connection reset|timeout|deadline exceeded|EOF|unreachable": "REGISTRY="
    "{registry} does not respond to the Docker engine: check host, port and network, and that the registry is running",
    "HTTP status: 5|50[0-9] ": "REGISTRY={registry} failed: check its log and its free disk space",
}


class Registry:
    """The registry HOST[:PORT][/PATH], as the Docker engine of this machine sees it."""

    def __init__(self, address: str) -> None:
        """Connect to the engine. Raises DockerError if that fails."""
        self.address = address
        self.credentials: Mapping[str, str] | None = None
        """User name and password; None means those of `docker login`."""
        self.login = f"run `docker login {address.partition('/')[0]}`, then push again"
        self.allow = (
            "give the user of `docker login` permission to push there, or create the repository if it must exist"
        )
        try:
            self._api = docker.from_env(timeout=_TIMEOUT, use_ssh_client=True).api
        except DockerException as error:
            raise DockerError(
                f"cannot connect to Docker: start the engine, or set DOCKER_HOST; Docker reported: {error}"
            ) from None

    def close(self) -> None:
        """Close the connections to the engine."""
        self._api.close()

    def check_built(self, name: str, tag: str) -> None:
        """Raise UserError unless the engine has the image NAME:TAG for this registry."""
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

        Raises UserError for errors that the user can fix, else CommandFailed with the engine's message.
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
            raise CommandFailed(
                f"the Docker engine pushed {self.address}/{name}:{tag} but reported no digest: push again"
            )
        return digest

    def check_manifest(self, name: str, tag: str, digest: str) -> None:
        """Raise CommandFailed unless TAG has `digest` in the registry and a manifest format that SageMaker accepts."""
        image = f"{self.address}/{name}:{tag}"
        try:
            manifest: dict[str, Any] = self._api.inspect_distribution(image, auth_config=self.credentials)
        except (DockerException, requests.RequestException) as error:
            raise self._failure(name, tag, error.explanation if isinstance(error, APIError) else str(error)) from None
        actual, media_type = manifest["Descriptor"]["digest"], manifest["Descriptor"]["mediaType"]
        if actual != digest:
            raise CommandFailed(
                f"{image} has the digest {actual} in the registry, but {digest} was pushed: another push has replaced "
                "it; push with another TAG="
            )
        if media_type != DOCKER_MANIFEST:
            kind = f"{_KINDS[media_type]} ({media_type})" if media_type in _KINDS else media_type
            raise CommandFailed(
                f"{image} is {kind} in the registry, but SageMaker accepts only {DOCKER_MANIFEST}: build it with "
                f"{self._build(name, tag)}, or with `docker buildx build --provenance=false --sbom=false --output "
                f"type=image,name={image},oci-mediatypes=false`, then push again"
            )

    def _failure(self, name: str, tag: str, message: str) -> UserError | CommandFailed:
        """Return an exception that explains the engine's error message."""
        host, _, path = self.address.partition("/")
        values = {
            "registry": self.address,
            "host": host,
            "image": f"{self.address}/{name}:{tag}",
            "repository": f"{path}/{name}".lstrip("/"),
            "tag": tag,
            "login": self.login,
            "allow": self.allow,
        }
        for pattern, explanation in _EXPLANATIONS.items():
            if re.search(pattern, message, re.IGNORECASE):
                return UserError(f"{explanation.format(**values)}; Docker reported: {message}")
        return CommandFailed(f"{values['image']} could not be pushed; Docker reported: {message}")

    def _build(self, name: str, tag: str) -> str:
        return f"`make build/{name} REGISTRY={self.address} {images.variables(tag)}`"
