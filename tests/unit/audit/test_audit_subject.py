"""Subjects have names that are stable here and mean nothing elsewhere."""

from __future__ import annotations

import stat

import pytest

from meshpass.audit.subject import SubjectHasher, load_salt
from meshpass.errors import MeshpassError


def test_hash():
    """16 hex digits that depend on the salt, the issuer and the subject, and on where one ends."""
    hasher = SubjectHasher(b"a" * 32)
    found = [hasher("i", "s"), hasher("i", "t"), hasher("j", "s"), hasher("is", ""), SubjectHasher(b"b" * 32)("i", "s")]

    assert len(set(found)) == len(found)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in found)
    assert hasher("i", "s") == found[0]


def test_salt_is_made_once(tmp_path):
    """The file is for its owner alone, and the same salt comes from it ever after."""
    path = tmp_path / "salt"
    first = load_salt(path)

    assert len(first) == 32
    assert load_salt(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["salt"]
    assert load_salt(tmp_path / "other") != first


@pytest.mark.parametrize(("content", "mode"), [(b"short", 0o600), (b"", 0o600), (b"x" * 32, 0o640), (b"x" * 32, 0o604)])
def test_a_bad_file_is_refused(tmp_path, content, mode):
    """A salt that is no salt, or that others know, hides nobody."""
    path = tmp_path / "salt"
    path.write_bytes(content)
    path.chmod(mode)

    with pytest.raises(MeshpassError):
        load_salt(path)
