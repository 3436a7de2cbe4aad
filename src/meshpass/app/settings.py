"""Settings of a control plane's process: which clusters it reads, whom it serves, whom it is connected to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from meshpass.translate import FeatureGates


class Role(Enum):
    """What a process is for."""

    ALONE = "alone"
    """It reads all clusters, and serves all proxies."""
    MANAGEMENT_SERVER = "management-server"
    """It reads the management cluster, and brings what agents read together."""
    AGENT = "agent"
    """It reads one cluster, and serves that cluster's proxies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayListen:
    """What makes a process the management server."""

    address: str
    """``host:port`` for agents; port 0 is any free one."""
    names: tuple[str, ...] = ()
    """Names and addresses by which agents know it, beside that one and those of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConnect:
    """What makes a process an agent."""

    server: str
    """``host:port`` of the management server."""
    credentials: Path
    """Directory with ca.crt, tls.crt and tls.key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneSettings:
    """Where a control plane reads from and listens."""

    kubeconfig: Path
    contexts: tuple[tuple[str, str | None], ...]
    """(cluster, context of the kubeconfig) for every cluster that is read; None: the current one."""
    management_cluster: str
    ads_socket: Path
    control_socket: Path
    directory: Path
    """What has to outlive the process: objects, keys, the last good key sets."""
    gates: FeatureGates = field(default_factory=FeatureGates)
    trust_domain: str = "cluster.local"
    """Of the workloads' identities."""
    relay: RelayListen | RelayConnect | None = None
    """None: this process is alone."""

    @property
    def role(self) -> Role:
        """What the process is for."""
        match self.relay:
            case None:
                return Role.ALONE
            case RelayListen():
                return Role.MANAGEMENT_SERVER
            case RelayConnect():
                return Role.AGENT

    @property
    def cluster(self) -> str:
        """The cluster that the process is in: the management cluster, but for an agent."""
        return self.contexts[0][0] if self.role is Role.AGENT else self.management_cluster

    @property
    def clusters(self) -> frozenset[str]:
        """Those whose API servers are read, and whose objects get their statuses from here."""
        return frozenset(cluster for cluster, _ in self.contexts)
