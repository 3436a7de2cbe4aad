"""Fields put together by hand are what protobuf writes and reads."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any

from meshpass.envoy.framing import frame, frame_parts


@pytest.mark.parametrize("length", [0, 1, 127, 128, 300, 16_383, 16_384, 3_000_000])
@pytest.mark.parametrize("number", [1, 2])
def test_a_field_is_written_as_protobuf_writes_it(number: int, length: int) -> None:
    """Whatever its length; an empty value is a field all the same."""
    value = b"a" * length
    message = Any(type_url="" if number == 2 else value.decode(), value=value if number == 2 else b"")
    expected = message.SerializeToString(deterministic=True) or frame(number)
    assert frame(number, value) == expected
    assert Any.FromString(frame(number, value)) == message


def test_parts_are_one_value() -> None:
    """Joined or not yet joined."""
    assert frame(2, b"ab", b"", b"c") == frame(2, b"abc") == b"".join(frame_parts(2, (b"a", b"bc")))


def test_a_field_number_may_need_two_bytes() -> None:
    """Numbers from 16 on do."""
    assert frame(24, b"x") == b"\xc2\x01\x01x"
