"""Files with secrets are whole and their owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from meshpass.secretfile import make_private_directory, write_secret_file


def test_a_file_that_others_could_read_is_replaced(tmp_path: Path):
    """New content, mode 0600 whatever the old file's mode and the umask, and nothing left beside it."""
    path = tmp_path / "token"
    path.write_bytes(b"old")
    path.chmod(0o666)
    previous = os.umask(0)
    try:
        write_secret_file(path, b"new")
    finally:
        os.umask(previous)

    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A full disk, say: the old content stays, and no half-written file."""

    def fail(_: int) -> None:
        raise OSError

    path = tmp_path / "token"
    write_secret_file(path, b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):  # noqa: PT011 - the one raised above
        write_secret_file(path, b"new")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_directory_is_so_all_the_way(tmp_path: Path):
    """Whatever is made above it as well; what was there is left as it is, for it is somebody else's."""
    tmp_path.chmod(0o755)
    path = make_private_directory(tmp_path / "agents" / "cluster1" / "identity")

    made = (path, path.parent, path.parent.parent)
    assert [stat.S_IMODE(one.stat().st_mode) for one in made] == [0o700] * 3
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert make_private_directory(path) == path
