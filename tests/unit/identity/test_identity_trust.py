"""What agents tell of their identities is read, whatever it is."""

from __future__ import annotations

import pytest

from meshpass.errors import MeshpassError
from meshpass.identity.trust import decode_bundle, decode_intermediate_state, decode_node_trust


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"cluster":"\xff\xfe","trustDomain":"\xff","issuer":"\xff"}', id="no-utf-8"),
        pytest.param(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep"),
        pytest.param(b'{"cluster":"c","workloads":"many","trusts":1}', id="types"),
        pytest.param(b"[]", id="list"),
    ],
)
def test_garbage_is_an_error_of_ours(data: bytes) -> None:
    """Any other error would end the management server, and again whenever it starts: what agents tell is on its disk."""
    for decode in (decode_intermediate_state, decode_node_trust, decode_bundle):
        with pytest.raises(MeshpassError):
            decode(data)
