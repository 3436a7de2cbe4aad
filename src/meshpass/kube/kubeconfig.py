"""Kubeconfig files that we write; reading them is `credentials`."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """How to reach one API server: its URL, the CA of its certificate, and the bearer token."""

    name: str
    server: str
    ca_pem: bytes
    token: str = field(repr=False)


def write_kubeconfig(path: Path, clusters: Sequence[ClusterAccess], current: str) -> None:
    """``path`` is a kubeconfig of mode 0600 with one context per cluster, named as the cluster; never half-written."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster.name,
                "cluster": {
                    "server": cluster.server,
                    "certificate-authority-data": base64.b64encode(cluster.ca_pem).decode(),
                },
            }
            for cluster in clusters
        ],
        # A plain str: YAML's safe dumper knows no subclasses, and tokens usually are redacted ones.
        "users": [{"name": cluster.name, "user": {"token": str(cluster.token)}} for cluster in clusters],
        "contexts": [
            {"name": cluster.name, "context": {"cluster": cluster.name, "user": cluster.name}} for cluster in clusters
        ],
        "current-context": current,
    }
    # mkstemp opens with mode 0600: the token is never readable by others, not even before the rename.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump(document, file, sort_keys=False)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
