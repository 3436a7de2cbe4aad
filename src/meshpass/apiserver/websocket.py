"""QuietWebSocket: a WebSocket whose URL and content are in no log."""

from __future__ import annotations

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_log = logging.getLogger(__name__)


class QuietWebSocket(WebSocketsSansIOProtocol):
    """uvicorn logs the URLs of WebSockets. Those of ``exec`` hold commands, whose arguments may be tokens."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        quiet = _Warnings(_log)
        self.logger = quiet  # type: ignore[assignment]
        self.conn.logger = quiet
        self.conn.debug = False

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
