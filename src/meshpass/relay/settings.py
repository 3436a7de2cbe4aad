"""Where the two ends of the relay are, and who they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayServerSettings:
    """Of the management server."""

    management_cluster: str
    listen: str
    """``host:port``; port 0 is any free one."""
    trust_domain: str
    """Of the agents' certificates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayAgentSettings:
    """Of an agent."""

    cluster: str
    management_cluster: str
    server: str
    """``host:port`` of the management server; its certificate has to be for this host."""
