"""Proxy: the whole task of one Envoy."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshpass.ir.backend import Backend
from meshpass.ir.listener import Listener
from meshpass.ir.policy import PolicySet
from meshpass.ir.route import RouteConfiguration
from meshpass.ir.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """The whole task of one Envoy. Proxies with the same view share the parts by identity."""

    node: str
    """``sidecar~<cluster>~<namespace>~<pod>`` or ``gateway~…``: what the Envoy says as its node id."""
    listeners: tuple[Listener, ...] = ()
    application: tuple[Backend, ...] = ()
    """The workload's own addresses, behind its inbound listeners."""
    backends: tuple[Backend, ...] = ()
    """What the routes send to; sorted by name."""
    routes: tuple[RouteConfiguration, ...] = ()
    """Sorted by name; each is used by a listener."""
    secrets: tuple[Secret, ...] = ()
    """What listeners and backends name; sorted by name."""
    policies: PolicySet = field(default_factory=PolicySet)
    """What holds on the routes."""
    inbound_policies: PolicySet = field(default_factory=PolicySet)
    """What holds on the inbound listeners."""
