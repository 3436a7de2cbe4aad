from __future__ import annotations

import base64
import stat

import pytest

from meshpass.errors import MeshpassError
from meshpass.identity.token import ensure_token


def test_token_is_256_random_bits_in_a_private_file_and_stays(tmp_path):
    token = ensure_token(tmp_path / "token")

    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert ensure_token(tmp_path / "token") == token
    assert ensure_token(tmp_path / "other") != token


def test_token_is_hidden_from_representations(tmp_path):
    token = ensure_token(tmp_path / "token")
    assert str(token) not in repr({"token": token})
    assert f"Bearer {token}" == "Bearer " + (tmp_path / "token").read_text()


def test_token_file_that_others_can_read_is_refused(tmp_path):
    token = ensure_token(tmp_path / "token")
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(MeshpassError, match="0644") as error:
        ensure_token(tmp_path / "token")
    assert token not in str(error.value)
    assert error.value.hint


@pytest.mark.parametrize("content", ["", "short", "é" * 50])
def test_token_file_without_a_token_is_refused(tmp_path, content):
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(MeshpassError, match="holds no token"):
        ensure_token(path)
