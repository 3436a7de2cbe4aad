"""Outbound: how a program that knows nothing of the mesh sends its requests through a sidecar."""

from __future__ import annotations

import os
from collections.abc import Mapping

from meshpass.localmesh.meshfile import PROXY_PORT


def proxy_environment(address: str, *, not_proxied: str = "") -> Mapping[str, str]:
    """The variables that send a program's HTTP requests through the sidecar at this address.

    Both spellings: curl reads only the small one of ``http_proxy``, others only the large ones.
    """
    url = f"http://{address}:{PROXY_PORT}"
    return {"http_proxy": url, "HTTP_PROXY": url, "no_proxy": not_proxied, "NO_PROXY": not_proxied}


def command_environment(address: str) -> dict[str, str]:
    """The environment of a program that runs as the workload at this address: ours, and the way out by its sidecar."""
    return {**os.environ, **proxy_environment(address)}
