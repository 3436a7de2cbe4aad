"""Fields of protobuf messages as bytes, so that a large message is put together from parts that are already serialised.

Serialised messages that follow each other are read as one message, the merge of both (Protocol Buffers, "Encoding",
*Last One Wins*): a repeated field gets the elements of all of them in order.
"""

from __future__ import annotations

_LENGTH_DELIMITED = 2


def frame(number: int, body: bytes) -> bytes:
    """A field whose value is text, bytes, or a message that is serialised already."""
    return b"".join((_varint(number << 3 | _LENGTH_DELIMITED), _varint(len(body)), body))


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
