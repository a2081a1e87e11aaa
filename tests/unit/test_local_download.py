"""`data` against an HTTP server on loopback: interruptions, resuming, changed files and bad archives."""

import contextlib
import errno
import hashlib
import http.server
import io
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local import __main__ as program
from local.datasets import download
from local.errors import CommandFailed, UserError
from tests.unit.loopback import serving

BODY = bytes(os.urandom(300_000))


@dataclass
class Site:
    """What the server serves, how it misbehaves, and what was requested."""

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = '"1"'
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)  # errors for the first requests, one each
    cuts: list[int] = field(default_factory=list)  # number of bytes after which each of the next responses is cut off
    requested: list[str | None] = field(default_factory=list)  # the Range header of every request
    url: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve ranges as in RFC 9110: one `bytes=N-`, and If-Range with a strong ETag."""

    site: Site

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        site = self.site
        range_header = self.headers.get("Range")
        site.requested.append(range_header)
        body = site.files.get(self.path)
        if site.statuses or body is None:
            self.send_error(site.statuses.pop(0) if site.statuses else 404)
            return
        start = 0
        if range_header and site.ranges and self.headers.get("If-Range") in (None, site.etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", range_header)[1])  # type: ignore[index]
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if site.etag:
            self.send_header("ETag", site.etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + site.cuts.pop(0) if site.cuts else len(body)
        self.wfile.write(body[start:end])


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    with serving(type("Bound", (Handler,), {"site": site})) as port:
        site.url = f"http://127.0.0.1:{port}"
        yield site


def fetch(site: Site, path: Path, attempts: int = 4) -> None:
    download.download(f"{site.url}/file", path, waits=(0.0,) * (attempts - 1))


def test_a_download_is_complete_and_leaves_no_partial_file(site: Site, tmp_path: Path) -> None:
    site.files["/file"] = BODY
    fetch(site, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert site.requested == [None]


def test_a_broken_connection_is_resumed_where_it_broke(site: Site, tmp_path: Path) -> None:
    site.files["/file"] = BODY
    site.cuts = [100_000, 50_000]
    fetch(site, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert site.requested == [None, "bytes=100000-", "bytes=150000-"]


def test_progress_resets_the_number_of_attempts(site: Site, tmp_path: Path) -> None:
    site.files["/file"] = BODY
    site.cuts = [1000] * 10
    fetch(site, tmp_path / "file", attempts=2)
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_later_call_resumes_an_earlier_partial_download(site: Site, tmp_path: Path) -> None:
    site.files["/file"] = BODY
    site.cuts = [120_000, 0]
    with pytest.raises(CommandFailed, match=r"0\.1 MB are in .*file\.part: check the network"):
        fetch(site, tmp_path / "file", attempts=1 + 1)
    fetch(site, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert site.requested[-1] == "bytes=120000-"


def test_a_file_that_has_changed_is_downloaded_from_scratch(site: Site, tmp_path: Path) -> None:
    site.files["/file"] = BODY
    site.cuts = [100_000, 0]
    with pytest.raises(CommandFailed):
        fetch(site, tmp_path / "file", attempts=2)
    site.files["/file"], site.etag = BODY[::-1], '"2"'
    fetch(site, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY[::-1]


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_without_a_strong_validator_nothing_is_resumed(site: Site, tmp_path: Path, etag: str) -> None:
    site.files["/file"], site.etag = BODY, etag
    site.cuts = [100_000]
    fetch(site, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert site.requested == [None, None]


def test_a_server_without_ranges_sends_the_whole_file_again(site: Site, tmp_path: Path) -> None:
    site.files["/file"], site.ranges = BODY, False
    site.cuts = [100_000]
    fetch(site, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_partial_file_that_is_already_complete_is_used(site: Site, tmp_path: Path) -> None:
    site.files["/file"] = BODY
    (tmp_path / "file.part").write_bytes(BODY)
    (tmp_path / "file.part.validator").write_text(site.etag)
    fetch(site, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_partial_file_longer_than_the_file_is_discarded(site: Site, tmp_path: Path) -> None:
    site.files["/file"] = BODY
    (tmp_path / "file.part").write_bytes(BODY + b"more")
    (tmp_path / "file.part.validator").write_text(site.etag)
    fetch(site, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_requests_to_a_busy_server_are_retried_and_those_for_a_missing_file_are_not(site: Site, tmp_path: Path) -> None:
    site.files["/file"] = BODY
    site.statuses = [503, 429]
    fetch(site, tmp_path / "file")
    assert len(site.requested) == 3
    with pytest.raises(UserError, match=r"images\.tar\.gz returned 404 Not Found: check the URL .* --images-url"):
        download.download(f"{site.url}/images.tar.gz", tmp_path / "images.tar.gz")
    assert len(site.requested) == 4


def test_an_unreachable_server_is_reported_with_its_address_and_the_fix(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"no response from 127\.0\.0\.1:1 \(Connection refused\).*HTTPS_PROXY"):
        download.download("http://127.0.0.1:1/file", tmp_path / "file", waits=(0.0,))


def test_other_schemes_are_rejected_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not an http or https URL"):
        download.download("file:///etc/hostname", tmp_path / "file")


def test_a_file_larger_than_the_free_space_is_rejected_before_it_is_downloaded(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/file"] = BODY
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(CommandFailed, match=r"0\.0 MB free and the download needs 0\.3 MB: free some space"):
        fetch(site, tmp_path / "file")


def test_a_full_disk_is_reported_with_the_fix_and_not_retried(site: Site, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full does not exist")
    site.files["/file"] = BODY
    (tmp_path / "file.part").symlink_to(full)
    with pytest.raises(CommandFailed, match=r"is full \(No space left on device\): free some space"):
        fetch(site, tmp_path / "file")
    assert len(site.requested) == 1


def archive(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "bad",
    [
        {"../evil": b"x"},
        {"images/../../evil": b"x"},
        {"images/link": link("images/link", "/etc"), "images/link/evil": b"x"},
        {"images/link": link("images/link", "../../evil")},
        {"images/link": link("images/link", "../../evil", tarfile.LNKTYPE)},
        {"images/device": link("images/device", "", tarfile.CHRTYPE)},
    ],
    ids=["parent", "parent of a subfolder", "absolute symlink", "relative symlink", "hard link", "device"],
)
def test_archives_that_write_outside_the_folder_are_rejected_and_leave_nothing(
    tmp_path: Path, bad: dict[str, bytes | tarfile.TarInfo]
) -> None:
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    file = out / "images.tar.gz"
    file.write_bytes(archive({"images/a_1.jpg": b"a", **bad}))
    with pytest.raises(UserError, match="is not safe to unpack"):
        download.extract(file, "images", out)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["images.tar.gz"]


def test_a_member_with_an_absolute_name_is_extracted_into_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "images.tar.gz"
    file.write_bytes(archive({"images/a_1.jpg": b"a", "/images/b_1.jpg": b"b"}))
    download.extract(file, "images", tmp_path)
    assert (tmp_path / "images" / "b_1.jpg").read_bytes() == b"b"


@pytest.mark.parametrize("damage", ["truncated", "not gzip", "corrupted"])
def test_a_damaged_archive_is_reported_and_leaves_nothing(tmp_path: Path, damage: str) -> None:
    whole = archive({f"images/a_{number}.jpg": os.urandom(5000) for number in range(20)})
    middle = len(whole) // 2
    damaged = {
        "truncated": whole[:middle],
        "not gzip": b"<html>sorry</html>" * 100,
        "corrupted": whole[:middle]
        + bytes(byte ^ 255 for byte in whole[middle : middle + 2000])
        + whole[middle + 2000 :],
    }
    file = tmp_path / "images.tar.gz"
    file.write_bytes(damaged[damage])
    with pytest.raises(CommandFailed, match=r"images\.tar\.gz is damaged .*: delete it and run this again"):
        download.extract(file, "images", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["images.tar.gz"]


def pack(folder: Path) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return data.getvalue()


@pytest.fixture
def archives(site: Site, drawn: Path) -> dict[str, str]:
    for part in download.PARTS:
        site.files[f"/{part}.tar.gz"] = pack(drawn / part)
    return {part: f"{site.url}/{part}.tar.gz" for part in download.PARTS}


def data(out: Path, archives: dict[str, str], *options: str) -> int:
    urls = [word for part, url in archives.items() for word in (f"--{part}-url", url)]
    return program.main(["data", "--out", str(out), *urls, *options])


def test_data_unpacks_both_archives_into_the_official_layout_and_downloads_them_once(
    site: Site, archives: dict[str, str], drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    sums = [
        word
        for part in archives
        for word in (f"--{part}-sha256", hashlib.sha256(site.files[f"/{part}.tar.gz"]).hexdigest().upper())
    ]
    assert data(out, archives, *sums) == 0
    for part in download.PARTS:
        files = {path.relative_to(drawn): path.read_bytes() for path in (drawn / part).rglob("*") if path.is_file()}
        assert {path.relative_to(out): path.read_bytes() for path in (out / part).rglob("*") if path.is_file()} == files
    assert sorted(path.name for path in out.iterdir()) == ["annotations", "images"]
    assert "36 photos in trainval.txt, 12 in test.txt" in capsys.readouterr().out
    count = len(site.requested)
    assert data(out, archives) == 0
    assert len(site.requested) == count, "downloaded again"


def test_an_archive_with_a_wrong_checksum_is_rejected_and_deleted(
    archives: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    assert data(out, archives, "--images-sha256", "0" * 64) == 2
    assert "expected 000000" in capsys.readouterr().err
    assert list(out.iterdir()) == []


def test_existing_archives_are_used_and_reported(
    site: Site, archives: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in download.PARTS:
        (tmp_path / f"{part}.tar.gz").write_bytes(site.files[f"/{part}.tar.gz"])
    assert data(tmp_path, archives) == 0
    assert site.requested == []
    output = capsys.readouterr().out
    for part in download.PARTS:
        assert f"{tmp_path / part}.tar.gz already exists, not downloaded\n" in output


def test_an_invalid_checksum_is_rejected_at_once(site: Site, archives: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as stderr:
        data(tmp_path, archives, "--images-sha256", "abc")
    assert "'abc' is not a SHA-256 checksum: give 64 hexadecimal digits" in stderr.getvalue()
    assert site.requested == []


def test_an_archive_with_other_content_is_rejected(site: Site, archives: dict[str, str], tmp_path: Path) -> None:
    site.files["/images.tar.gz"] = archive({"photos/a_1.jpg": b"a"})
    assert data(tmp_path / "data", archives) == 2
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["images.tar.gz"]


def test_a_full_disk_and_other_disk_errors_have_different_messages() -> None:
    full = download._disk_error(OSError(errno.ENOSPC, "No space left on device"), Path("out"))
    other = download._disk_error(PermissionError(errno.EACCES, "Permission denied"), Path("out"))
    assert str(full).startswith("out is full")
    assert str(other).startswith("out cannot be written: ")
