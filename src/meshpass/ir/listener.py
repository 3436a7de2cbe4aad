"""Listeners: where a proxy accepts connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundListener:
    """Where a workload sends its own requests: an HTTP forward proxy (RFC 9112 §3.2.2, absolute-form)."""

    name: str
    address: str
    port: int
    route_configuration: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundListener:
    """Where others reach a workload; every request goes to one backend, the application."""

    name: str
    address: str
    port: int
    backend: str
    selection_class: str
    """Names the port of this pod: the policies of all destinations that lead here hold on it."""


Listener = OutboundListener | InboundListener
