"""ApiServerSettings: everything that one embedded API server needs to start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshpass.apiserver.podruntime import PodRuntime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerSettings:
    """The embedded API server of one cluster."""

    cluster: str
    """The cluster's name; clients see it in no answer but the log does."""
    directory: Path
    """Where the database lives; made with mode 0700 when it is missing."""
    certificate: Path
    """PEM certificate chain that the server shows."""
    private_key: Path
    """PEM key of the certificate."""
    token: str = field(repr=False)
    """The bearer token that every request must carry."""
    host: str = "127.0.0.1"
    port: int = 0
    """0 lets the system choose; ``ApiServer.port`` tells which."""
    crds: tuple[Mapping[str, Any], ...] = ()
    """CustomResourceDefinition manifests, created or updated before the first connection is accepted."""
    pods: PodRuntime | None = field(default=None, repr=False)
    """What runs the cluster's Pods; without it ``exec`` and ``log`` are answered 501."""
    history: int = 10_000
    """Revisions that stay available to watches and continued lists; older resourceVersions are answered 410."""
    history_seconds: float = 3600.0
    """Revisions older than this leave the log even when there are fewer than ``history``."""
    bookmark_seconds: float = 60.0
    """How often an idle watch that asked for bookmarks gets one."""
    event_seconds: float = 3600.0
    """Age at which an Event is deleted (Kubernetes' ``--event-ttl``)."""
