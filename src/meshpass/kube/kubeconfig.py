"""Kubeconfig files that we write; reading them is `credentials`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from meshpass.secretfile import write_secret_file


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
    write_secret_file(path, yaml.safe_dump(document, sort_keys=False).encode())
