"""Download the archives of a data set, verify their checksums and unpack them."""

import errno
import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from local.errors import CommandFailed, UserError
from local.progress import Progress, megabytes

SITE = "https://www.robots.ox.ac.uk/~vgg/data/pets/data"
PARTS = ("images", "annotations")
# Seconds to wait before each retry. An attempt that received any data resets the sequence.
WAITS = (1.0, 2.0, 4.0, 8.0)
_TIMEOUT = 30.0
_BLOCK = 1 << 18
_RETRIED = {408, 425, 429, 500, 502, 503, 504}


class _Interrupted(Exception):
    """A transfer ended early. The message says why."""


def download(url: str, path: Path, waits: Sequence[float] = WAITS) -> None:
    """Download `url` to `path`. An incomplete download is in `path`.part.

    Resume an interrupted transfer, even from an earlier call, if the server supports Range and its file has not
    changed (If-Range). Otherwise start from scratch. `waits` are the seconds to wait before each retry.

    Raise UserError if the server rejects the URL, and CommandFailed if the network or the disk fails.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"{url} is not an http or https URL: give one that begins with https://")
    part = path.with_name(f"{path.name}.part")
    attempt = 0
    while True:
        before = _size(part)
        try:
            _transfer(url, part)
            break
        except _Interrupted as error:
            attempt = 0 if _size(part) > before else attempt
            if attempt == len(waits):
                raise CommandFailed(
                    f"{url} could not be downloaded: {error}. {megabytes(_size(part))} are in {part}: check the "
                    "network (or HTTPS_PROXY) and run this again to resume the download"
                ) from None
            print(f"{error}; retrying in {waits[attempt]:g} s")
            time.sleep(waits[attempt])
            attempt += 1
    part.replace(path)
    _validator_file(part).unlink(missing_ok=True)


def check(path: Path, sha256: str | None, url: str) -> None:
    """Verify the SHA-256 of the file. `sha256` is hexadecimal; None skips the check.

    If it differs, delete the file so that the next run downloads it again, and raise UserError.
    """
    if sha256 is None:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        path.unlink()
        raise UserError(
            f"{url} has the SHA-256 {digest}, expected {sha256}: correct the checksum or the URL and run this again; "
            "the downloaded file was deleted"
        )


def extract(archive: Path, folder: str, out: Path) -> None:
    """Unpack `folder`/ from a .tar.gz to `out`/`folder`, which exists only if unpacking succeeds.

    Raise UserError naming the member if it is a device or leads outside the folder (tarfile's `data` filter).
    Raise CommandFailed if the archive is damaged or the disk is full.
    """
    building = out / f".{folder}.{os.getpid()}.part"
    try:
        with (
            archive.open("rb") as file,
            Progress(f"Unpacking {archive.name}", archive.stat().st_size, "B") as progress,
            gzip.GzipFile(fileobj=file) as content,
            tarfile.open(fileobj=content, mode="r:") as tar,
        ):
            for member in tar:
                tar.extract(member, building, filter="data")
                progress.done(file.tell())
            while content.read(_BLOCK):  # gzip's checksum comes after the last byte that tarfile reads
                pass
        if not (building / folder).is_dir():
            raise UserError(f"{archive} has no folder {folder}/: give the URL of the data set's {folder}.tar.gz")
        (building / folder).replace(out / folder)
    except tarfile.FilterError as error:
        raise UserError(
            f"{archive} is not safe to unpack: {error}; delete it and download it from a trusted source"
        ) from None
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CommandFailed(f"{archive} is damaged ({error}): delete it and run this again") from None
    except OSError as error:
        raise _disk_error(error, out) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _transfer(url: str, part: Path) -> None:
    """Try once to complete `part`. Raise _Interrupted if a retry may help."""
    start = _size(part)
    validator = _read_validator(part)
    headers = {"User-Agent": "sagemaker-vision-containers", "Accept-Encoding": "identity"}
    if start and validator:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            _refused(url, part, error)
        return
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"no response from {urllib.parse.urlsplit(url).netloc} ({_reason(error)})") from None
    with response:
        if response.status == http.HTTPStatus.OK:
            start = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise _Interrupted(f"the server returned {response.status} without the requested range")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        _require_space(part, total, start)
        _write_validator(part, response.headers)
        try:
            with part.open("r+b" if start else "wb") as file:
                file.seek(start)
                received = _copy(response, file, part.name.removesuffix(".part"), start, total)
        except OSError as error:
            raise _disk_error(error, part.parent) from error
    if total is not None and received < total:
        raise _Interrupted(f"the connection ended after {megabytes(received)} of {megabytes(total)}")


def _copy(response: http.client.HTTPResponse, file: BinaryIO, name: str, start: int, total: int | None) -> int:
    """Append the response body to the file and return the file's size. After an interruption, received data is kept."""
    count = start
    with Progress(f"Downloading {name}", total, "B", already=start) as progress:
        while True:
            try:
                block = response.read(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise _Interrupted(f"the connection broke after {megabytes(count)} ({_reason(error)})") from None
            if not block:
                return count
            file.write(block)
            count += len(block)
            progress.done(count)


def _refused(url: str, part: Path, error: urllib.error.HTTPError) -> None:
    """Raise the exception for an HTTP error status. Return if the status shows that `part` is complete."""
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        if error.headers.get("Content-Range") == f"bytes */{_size(part)}":
            return
        part.unlink()
        raise _Interrupted("the server's file is shorter than the partial download, which was deleted")
    if error.code in _RETRIED:
        raise _Interrupted(f"the server returned {error.code} {error.reason}")
    option = next((f" with --{name}-url" for name in PARTS if url.endswith(f"{name}.tar.gz")), "")
    raise UserError(f"{url} returned {error.code} {error.reason}: check the URL or give another{option}")


def _require_space(part: Path, total: int | None, start: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - start > free:
        raise CommandFailed(
            f"{part.parent} has {megabytes(free)} free and the download needs {megabytes(total - start)}: free some "
            "space or choose another folder with --out"
        )


def _disk_error(error: OSError, folder: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CommandFailed(
            f"{folder} is full ({error.strerror}): free some space and run this again, or choose another folder with "
            "--out"
        )
    return CommandFailed(f"{folder} cannot be written: {error}")


def _reason(error: BaseException) -> str:
    """Return the reason of a network error. urllib wraps the original exception."""
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason) or type(error).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.validator")


def _read_validator(part: Path) -> str | None:
    file = _validator_file(part)
    return file.read_text(encoding="ascii") if file.exists() else None


def _write_validator(part: Path, headers: http.client.HTTPMessage) -> None:
    """Save a validator of the server's file for If-Range: a strong ETag or the date (RFC 9110, section 13.1.5)."""
    etag = headers.get("ETag", "")
    validator = etag if etag.startswith('"') else headers.get("Last-Modified", "")
    if validator:
        _validator_file(part).write_text(validator, encoding="ascii")
    else:
        _validator_file(part).unlink(missing_ok=True)
