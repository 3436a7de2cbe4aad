"""Connection: how a proxy speaks to a backend, apart from where it is."""

from __future__ import annotations

from dataclasses import dataclass

from meshpass.ir import UpstreamTls
from meshpass.translate.selection_class import content_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """All of a backend but its name and its endpoints."""

    http2: bool = False
    resolve: bool = False
    """True where endpoints are host names."""
    tls: UpstreamTls | None = None

    @property
    def suffix(self) -> str:
        """What a backend's name ends in: a backend that is spoken to in another way is another backend."""
        return "" if self == Connection() else f"-{content_hash(self)}"
