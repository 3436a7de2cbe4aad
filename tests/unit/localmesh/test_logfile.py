"""Logs of children do not fill the disk."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import contextmanager

import pytest

from meshpass.localmesh.logfile import LogFile, last_lines


@contextmanager
def full_disk(size):
    """Files take ``size`` bytes, and no more: the system refuses the rest, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_log_is_bounded(tmp_path):
    """At the limit a new file begins; the one before it is kept, older ones are not."""
    path = tmp_path / "log"
    log = LogFile(path, limit=100)
    for number in range(50):
        log.write(b"%09d\n" % number)
    log.close()

    sizes = {one.name: one.stat().st_size for one in tmp_path.iterdir() if one.suffix != ".times"}
    assert sizes == {"log": 100, "log.1": 100}
    assert {one.name for one in tmp_path.iterdir()} == {"log", "log.1", "log.times", "log.1.times"}
    assert path.read_bytes().endswith(b"49\n")


def test_a_log_is_its_owners_alone(tmp_path):
    """Programs write all sorts of things."""
    LogFile(tmp_path / "log").close()

    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}


def test_the_last_lines_of_what_is_there(tmp_path):
    """Of a log that is not there: nothing."""
    (tmp_path / "log").write_text("a\nb\nc\n")

    assert last_lines(tmp_path / "log", 2) == "b\nc"
    assert last_lines(tmp_path / "none", 2) == ""


def test_what_a_full_disk_does_not_take_is_lost_and_nothing_else(tmp_path):
    """Nobody is told by an exception, which would end the mesh; what is written later is there."""
    log = LogFile(tmp_path / "log")
    log.write(b"before\n")
    with full_disk(7):
        for _ in range(3):
            log.write(b"lost\n")
            log.begin()
    log.write(b"after\n")
    log.close()

    assert (tmp_path / "log").read_bytes() == b"before\nafter\n"


def test_a_log_that_could_not_be_begun_is_begun_later(tmp_path):
    """Also where the older one is moved already."""
    log = LogFile(tmp_path / "log", limit=10)
    log.write(b"12345678\n")

    def refuse(*_arguments, **_options):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pathlib.Path.open", refuse)
        log.write(b"lost\n")
        log.begin()
    log.write(b"after\n")
    log.close()

    assert (tmp_path / "log").read_bytes() == b"after\n"
    assert (tmp_path / "log.1").read_bytes() == b"12345678\n"
