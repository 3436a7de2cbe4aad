"""Channels: the streams of a remote command inside the messages of one WebSocket. A machine without IO.

A message is one byte, the number of a channel, and then bytes of that channel's stream (Kubernetes'
``v4.channel.k8s.io``). How a stream is cut into messages means nothing. ``v5.channel.k8s.io`` adds a message that ends
a stream, without which a client could end its standard input by going away only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Annotated, Any

import msgspec

from meshpass.errors import MeshpassError

_LONGEST_SIZE = 1024
"""Bytes of one terminal size; Kubernetes' clients send about 30."""


class ChannelProtocol(Enum):
    """What the two sides agree on in ``Sec-WebSocket-Protocol``."""

    V5 = "v5.channel.k8s.io"
    V4 = "v4.channel.k8s.io"


class Channel(IntEnum):
    """The numbers of the streams."""

    INPUT = 0
    OUTPUT = 1
    ERROR_OUTPUT = 2
    STATUS = 3
    """One ``Status`` as JSON, the last message of the server."""
    RESIZE = 4
    CLOSE = 255
    """Its one byte is the number of the channel that ends; v5 alone."""


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes for the command's standard input."""

    data: bytes


@dataclass(frozen=True, slots=True)
class InputClosed:
    """There is no more standard input."""


class TerminalSize(msgspec.Struct, frozen=True, rename="pascal"):
    """The client's terminal has this many columns and rows."""

    width: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    height: Annotated[int, msgspec.Meta(ge=0, le=65535)]


ChannelEvent = Input | InputClosed | TerminalSize


class ChannelError(MeshpassError):
    """A client sent what means nothing."""


def choose_protocol(offered: Iterable[str]) -> ChannelProtocol | None:
    """The first of the offered protocols that is known; clients offer what they prefer first."""
    known = {protocol.value: protocol for protocol in ChannelProtocol}
    return next((known[name] for name in offered if name in known), None)


class ChannelReader:
    """What a client's messages mean, one after the other."""

    def __init__(self, protocol: ChannelProtocol) -> None:
        self._protocol = protocol
        self._sizes = b""
        self._closed = False

    def receive(self, message: bytes) -> tuple[ChannelEvent, ...]:
        """What follows from the next message. Raises ChannelError for a terminal size that is none.

        Channels that are not the client's to write on, and unknown ones, are passed over as Kubernetes does.
        """
        if not message:
            return ()
        data = message[1:]
        match message[0]:
            case Channel.INPUT if data and not self._closed:
                return (Input(data),)
            case Channel.RESIZE:
                return self._resize(data)
            case Channel.CLOSE if self._ends_input(data):
                self._closed = True
                return (InputClosed(),)
        return ()

    def _ends_input(self, data: bytes) -> bool:
        return self._protocol is ChannelProtocol.V5 and data == bytes([Channel.INPUT]) and not self._closed

    def _resize(self, data: bytes) -> tuple[TerminalSize, ...]:
        """Sizes are flat JSON objects one after the other, so each ends with the first closing brace."""
        *whole, self._sizes = (self._sizes + data).split(b"}")
        if len(self._sizes) > _LONGEST_SIZE:
            raise ChannelError("the size of the terminal is no JSON object of Width and Height")
        try:
            return tuple(msgspec.json.decode(text + b"}", type=TerminalSize) for text in whole)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ChannelError("the size of the terminal is no JSON object of Width and Height") from error


def write_message(channel: Channel, data: bytes) -> bytes:
    """One message."""
    return bytes([channel]) + data


def write_exit(code: int) -> bytes:
    """The last message: the command has ended with this code."""
    if code == 0:
        return write_status({"metadata": {}, "status": "Success"})
    return write_status(
        {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }
    )


def write_status(status: dict[str, Any]) -> bytes:
    """The last message: this ``Status``."""
    return write_message(Channel.STATUS, msgspec.json.encode(status))
