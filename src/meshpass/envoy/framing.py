"""Fields of protobuf messages as bytes, so that a large message is put together from parts that are already serialised.

Serialised messages that follow each other are read as one message, the merge of both (Protocol Buffers, "Encoding",
*Last One Wins*): a repeated field gets the elements of all of them in order.
"""

from __future__ import annotations

from collections.abc import Sequence

_LENGTH_DELIMITED = 2


def frame(number: int, *parts: bytes) -> bytes:
    """A field whose value is text, bytes, or a message that is serialised already, in one part or several."""
    return b"".join(frame_parts(number, parts))


def frame_parts(number: int, parts: Sequence[bytes]) -> tuple[bytes, ...]:
    """The same, not yet joined: what is large is copied once, with all that it is in."""
    return (encode_varint(number << 3 | _LENGTH_DELIMITED) + encode_varint(sum(map(len, parts))), *parts)


def encode_varint(number: int) -> bytes:
    """The number in base 128, least significant group first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
