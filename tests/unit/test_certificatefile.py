"""Files that objects name: what is read, what is not, and how changes are followed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meshpass import certificatefile
from meshpass.certificatefile import MAX_BYTES, CertificateFiles
from meshpass.translate.filecontent import UNREAD, FileContent, FileContents

PEM = "-----BEGIN CERTIFICATE-----\n"
GONE = FileContent(problem="cannot be read")


@asynccontextmanager
async def following(*paths: Path | str) -> AsyncIterator[CertificateFiles]:
    """Inside, these are followed, and were read once."""
    files = CertificateFiles(interval_seconds=0.02)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(files.run())
        try:
            await look(files, *paths)
            yield files
        finally:
            running.cancel()


async def look(files: CertificateFiles, *paths: Path | str) -> None:
    """Follow these, and return when they were read."""
    seen = files.revision
    if files.follow(frozenset(map(str, paths))):
        async with asyncio.timeout(5):
            await files.wait_changed(seen)


async def until(files: CertificateFiles, holds: Callable[[FileContents], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds(files.files):
            await files.wait_changed(files.revision)


async def read(path: Path | str) -> FileContent:
    async with following(path) as files:
        return files.files[str(path)]


async def test_a_text_is_read(tmp_path: Path) -> None:
    """Whole, through links, and never printed."""
    (tmp_path / "real").write_text(f"{PEM}ü")
    (tmp_path / "link").symlink_to("real")

    found = await read(tmp_path / "link")

    assert found == FileContent(text=f"{PEM}ü")
    assert "BEGIN" not in repr(found)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda _: None, "cannot be read"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (Path.mkdir, "is no regular file"),
        (make_fifo, "is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
        (make_sparse, "is larger than 1 MiB"),
        (lambda path: path.write_bytes(PEM.encode() + b"\xff"), "is no text"),
        (lambda path: path.write_text("root:x:0:0"), "has nothing in PEM"),
        (lambda path: path.write_text(""), "has nothing in PEM"),
    ],
    ids=["missing", "loop", "directory", "fifo", "device", "large", "binary", "other", "empty"],
)
async def test_what_cannot_be_used_is_told_and_not_kept(
    tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    """In words that say nothing of what is inside; nothing of it blocks."""
    make(tmp_path / "file")

    assert await read(tmp_path / "file") == FileContent(problem=problem)


@pytest.mark.parametrize("path", ["/\0", "/" + "x" * 5000, "/\udfff", "/proc/self/mem", "/proc/kmsg", ""])
async def test_odd_paths_cannot_be_read(path: str) -> None:
    """Whatever an object names."""
    assert (await read(path)).text == ""


async def test_what_may_not_be_read_is_told_like_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody learns from a status which files there are."""
    secret = tmp_path / "secret.pem"
    secret.write_text(PEM)
    whole = os.open

    def refuse(path: str, *args: int, **more: int) -> int:
        if str(path) == str(secret):
            raise PermissionError(13, "Permission denied", path)
        return whole(path, *args, **more)

    monkeypatch.setattr(os, "open", refuse)

    assert await read(secret) == await read(tmp_path / "missing.pem") == GONE


async def test_files_that_are_not_followed_are_not_known(tmp_path: Path) -> None:
    """And are read anew when they are followed again."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text(f"{PEM}1")
    two.write_text(f"{PEM}2")
    async with following(one) as files:
        await look(files, two)
        assert dict(files.files) == {str(two): FileContent(text=f"{PEM}2")}
        one.write_text(f"{PEM}3")
        await look(files, one)
        assert files.files[str(one)].text == f"{PEM}3"
        assert not files.follow(frozenset({str(one)}))


@pytest.mark.parametrize("write", ["in-place", "rename", "link"])
async def test_a_change_is_followed(tmp_path: Path, write: str) -> None:
    """However it is written; content that stays keeps its identity."""
    file, other = tmp_path / "file", tmp_path / "other"
    (tmp_path / "old").write_text(f"{PEM}1")
    other.write_text(PEM)
    file.symlink_to("old")
    async with following(file, other) as files:
        kept = files.files[str(other)]
        match write:
            case "in-place":
                (tmp_path / "old").write_text(f"{PEM}2")
            case "rename":
                (tmp_path / "new").write_text(f"{PEM}2")
                (tmp_path / "new").rename(tmp_path / "old")
            case _:
                (tmp_path / "new").write_text(f"{PEM}2")
                (tmp_path / "newer").symlink_to("new")
                (tmp_path / "newer").rename(file)
        await until(files, lambda known: known[str(file)].text == f"{PEM}2")
        assert files.files[str(other)] is kept


async def test_a_file_comes_and_goes(tmp_path: Path) -> None:
    """It need not be there when it is named."""
    file = tmp_path / "file"
    async with following(file) as files:
        assert files.files[str(file)] == GONE
        file.write_text(PEM)
        await until(files, lambda known: known[str(file)] == FileContent(text=PEM))
        file.unlink()
        await until(files, lambda known: known[str(file)] == GONE)


async def test_a_certificate_and_its_key_change_at_once(tmp_path: Path) -> None:
    """They are never seen with a half of each, in whatever order they were written."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text(f"{PEM}0")
    two.write_text(f"{PEM}0")
    async with following(one, two) as files:
        for text in (f"{PEM}{number}" for number in range(1, 6)):
            one.write_text(text)
            await asyncio.sleep(0.005)
            two.write_text(text)
            await files.wait_changed(files.revision)
            assert {known.text for known in files.files.values()} == {text}


async def test_a_file_that_never_rests_does_not_hold_others_for_ever(tmp_path: Path) -> None:
    """A log that somebody names as a certificate."""
    file, restless = tmp_path / "file", tmp_path / "restless"
    file.write_text(f"{PEM}1")
    restless.write_text(PEM)
    async with following(file, restless) as files:
        file.write_text(f"{PEM}2")
        async with asyncio.timeout(10):
            while files.files[str(file)].text != f"{PEM}2":
                with restless.open("a") as log:
                    log.write("x")
                await asyncio.sleep(0.001)


async def test_a_disk_that_hangs_holds_up_its_own_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count as not read until it answers; others are read meanwhile."""
    release = threading.Event()
    whole = certificatefile._read

    def hang(path: str) -> FileContent:
        if path == "/hangs":
            release.wait(10)
        return whole(path)

    monkeypatch.setattr(certificatefile, "_read", hang)
    monkeypatch.setattr(certificatefile, "FIRST_SECONDS", 0.01)
    (tmp_path / "file").write_text(PEM)
    try:
        async with following("/hangs") as files:
            assert files.files["/hangs"] is UNREAD
            await look(files, "/hangs", tmp_path / "file")
            assert files.files[str(tmp_path / "file")].text == PEM
            assert files.files["/hangs"] is UNREAD
            release.set()
            await until(files, lambda known: known["/hangs"] == GONE)
    finally:
        release.set()
