"""WebSockets of the server: where one may be asked for, and that no log has its URL."""

from __future__ import annotations

import logging
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from meshpass.httpserver import BoundedProtocol

_log = logging.getLogger(__name__)
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_ENDS: Final = (b"/attach", b"/exec", b"/portforward")


class UpgradableProtocol(BoundedProtocol):
    """HTTP/1.1 that can become a WebSocket where Pods are spoken to; elsewhere such a request is one like any other.

    So what strangers send to all other URLs is answered 401 before anybody looks at it as a handshake.
    """

    def _should_upgrade(self) -> bool:
        return super()._should_upgrade() and self.url.partition(b"?")[0].endswith(_ENDS)


class QuietWebSocket(WebSocketsSansIOProtocol):
    """uvicorn logs the URLs of WebSockets. Those of ``exec`` hold commands, whose arguments may be tokens."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        quiet = _Warnings(_log)
        self.logger = quiet  # type: ignore[assignment]
        self.conn.logger = quiet
        self.conn.debug = False

    def data_received(self, data: bytes) -> None:
        """A handshake that the library refuses to read, such as a longer URL than 8 KiB, is answered, and the connection closed.

        uvicorn would leave it open, before anybody looked at who it is.
        """
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()) or _BAD_REQUEST)
            self.transport.close()

    async def send(self, message: Any) -> None:
        """The message is sent; a refusal in HTTP is an answer too, which uvicorn would complain about."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True


class _Warnings(logging.LoggerAdapter[logging.Logger]):
    """Passes on warnings and errors, which say what went wrong and not what was sent."""

    level = logging.WARNING

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is the library's
        """True for what is passed on."""
        return level >= self.level and super().isEnabledFor(level)
