"""Logs of runs: apart from each other, with times, over files that get full."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshpass.localmesh.logcursor import open_run_log
from meshpass.localmesh.logfile import LogFile
from meshpass.localmesh.logindex import IndexReader, index_path


def text(path: Path, *, previous: bool = False) -> bytes | None:
    """All that is there."""
    cursor = open_run_log(path, previous=previous)
    if cursor is None:
        return None
    found = b""
    while lines := cursor.read():
        found += b"".join(line.text for line in lines)
    found += b"".join(line.text for line in cursor.rest())
    cursor.close()
    return found


def test_a_log_that_is_not_there(tmp_path):
    """Is empty, and had no run before."""
    assert text(tmp_path / "log") == b""
    assert text(tmp_path / "log", previous=True) is None


def test_the_runs(tmp_path):
    """The latest, and the one before; a run that wrote nothing was one too."""
    log = LogFile(tmp_path / "log")
    log.begin()
    log.write(b"first\n")
    assert text(log.path, previous=True) is None
    log.begin()
    log.write(b"second\n")
    assert (text(log.path), text(log.path, previous=True)) == (b"second\n", b"first\n")
    log.begin()
    assert (text(log.path), text(log.path, previous=True)) == (b"", b"second\n")
    log.begin()
    log.begin()
    log.write(b"last\n")
    assert (text(log.path), text(log.path, previous=True)) == (b"last\n", b"")


def test_a_log_without_an_index_is_one_run(tmp_path):
    """As an older version wrote it: all of it is shown, and when another run begins it becomes the one before."""
    (tmp_path / "log").write_bytes(b"old\n")
    assert (text(tmp_path / "log"), text(tmp_path / "log", previous=True)) == (b"old\n", None)
    log = LogFile(tmp_path / "log")
    log.begin()
    log.write(b"new\n")
    assert (text(log.path), text(log.path, previous=True)) == (b"new\n", b"old\n")


def test_a_run_over_two_files(tmp_path):
    """What is left of it is shown from the older file on."""
    log = LogFile(tmp_path / "log", limit=50)
    log.begin()
    for number in range(8):
        log.write(b"line %03d\n" % number)
    assert text(log.path) == b"".join(b"line %03d\n" % number for number in range(8))
    log.begin()
    log.write(b"new\n")
    assert text(log.path, previous=True) == b"".join(b"line %03d\n" % number for number in range(8))
    for number in range(20):
        log.write(b"more %03d\n" % number)
    shown = text(log.path)
    assert shown is not None
    assert shown.startswith(b"more")
    assert shown.endswith(b"more 019\n")


def test_lines_have_the_time_at_which_they_ended(tmp_path, monkeypatch):
    """To the hundredth of a second; without an index, when the file was written last."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    log = LogFile(tmp_path / "log")
    for second, data in enumerate((b"one\ntw", b"o\n", b"three\n")):
        nanoseconds = int((moment + timedelta(seconds=second)).timestamp()) * 1_000_000_000
        monkeypatch.setattr("time.time_ns", lambda nanoseconds=nanoseconds: nanoseconds)
        log.write(data)
    cursor = open_run_log(log.path, previous=False)
    assert cursor is not None
    assert [((line.time - moment).seconds, line.text) for line in cursor.read()] == [
        (0, b"one\n"),
        (1, b"two\n"),
        (2, b"three\n"),
    ]
    index_path(log.path).unlink()
    cursor = open_run_log(log.path, previous=False)
    assert cursor is not None
    assert abs(cursor.read()[0].time - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_index_is_small(tmp_path):
    """A chatty program does not get a record for each line."""
    log = LogFile(tmp_path / "log")
    for _ in range(10_000):
        log.write(b"x\n")
    assert index_path(log.path).stat().st_size < 16 * 1000


def test_half_a_record_is_read_later(tmp_path):
    """A reader in another process can come in the middle of a write."""
    log = LogFile(tmp_path / "log")
    log.begin()
    whole = index_path(log.path).read_bytes()
    index_path(log.path).write_bytes(whole[:7])
    reader = IndexReader.open(log.path)
    assert reader.begins == []
    index_path(log.path).write_bytes(whole)
    reader.refresh()
    assert reader.begins == [0]
    reader.close()


def test_a_very_long_line_comes_in_parts(tmp_path):
    """Nothing is kept for ever."""
    log = LogFile(tmp_path / "log")
    log.write(b"x" * 200_000 + b"\n")
    cursor = open_run_log(log.path, previous=False)
    assert cursor is not None
    lines = []
    while batch := cursor.read():
        lines += batch
    assert len(lines) > 1
    assert b"".join(line.text for line in lines) == b"x" * 200_000 + b"\n"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=30)), max_size=40), st.integers(1, 3))
def test_a_follower_sees_its_run_whole(tmp_path_factory: pytest.TempPathFactory, writes, pace):
    """However it is cut, rotated and read; None begins another run, at which it ends."""
    log = LogFile(tmp_path_factory.mktemp("log") / "log", limit=120)
    log.begin()
    log.write(b"0\n")
    written, over = b"0\n", False
    cursor = open_run_log(log.path, previous=False)
    assert cursor is not None
    seen = b""
    for number, data in enumerate(writes):
        if data is None:
            log.begin()
            over = True
        elif data:
            log.write(data)
            written += b"" if over else data
        # It may fall behind, but not by more than the files hold.
        if number % pace == 0:
            while lines := cursor.read():
                seen += b"".join(line.text for line in lines)
    while lines := cursor.read():
        seen += b"".join(line.text for line in lines)
    seen += b"".join(line.text for line in cursor.rest())
    assert seen == written
    assert cursor.ended == over
    cursor.close()
    log.close()
