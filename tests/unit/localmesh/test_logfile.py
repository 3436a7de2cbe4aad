"""Logs of children do not fill the disk."""

from __future__ import annotations

from meshpass.localmesh.logfile import LogFile, last_lines


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
