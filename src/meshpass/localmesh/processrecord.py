"""Records of the processes that a mesh's control plane consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Role(Enum):
    """What a process of the control plane does; the values are those of ``role`` in its status."""

    ALONE = "alone"
    """Everything, for all clusters: it is the supervisor itself."""
    MANAGEMENT_SERVER = "management-server"
    AGENT = "agent"


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One process of the control plane as it runs."""

    role: Role
    cluster: str
    """The one that it belongs to; for a process alone the management cluster."""
    control_socket: str
    log: str
    pid: int | None = None
    """None while it does not run."""

    @property
    def name(self) -> str:
        """What people call it, and what `meshpass stop` takes."""
        match self.role:
            case Role.ALONE:
                return "control plane"
            case Role.MANAGEMENT_SERVER:
                return "management-server"
            case Role.AGENT:
                return f"agent/{self.cluster}"

    @property
    def socket(self) -> Path:
        """Where it answers questions."""
        return Path(self.control_socket)


def speaks_for(process: ProcessRecord, cluster: str) -> bool:
    """True where the process reads the cluster's own API server."""
    return process.role is Role.ALONE or process.cluster == cluster


def join_by_cluster(told: Sequence[tuple[ProcessRecord, Mapping[str, T]]]) -> dict[str, T]:
    """What several processes say by cluster; of a cluster the word of the one that reads its API server holds."""
    joined: dict[str, T] = {}
    for process, said in sorted(told, key=lambda one: one[0].name):
        for cluster, value in said.items():
            if cluster not in joined or speaks_for(process, cluster):
                joined[cluster] = value
    return joined
