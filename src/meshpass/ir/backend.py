"""Backend: a named set of addresses that requests can be sent to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Endpoint(NamedTuple):
    """One address that accepts connections."""

    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A named set of endpoints, used in turn. Without endpoints its requests are answered 503."""

    name: str
    endpoints: tuple[Endpoint, ...]
