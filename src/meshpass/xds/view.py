"""View: what ``/v1/status`` and ``/v1/check`` of the control socket say of a proxy. Pure."""

from __future__ import annotations

from meshpass.xds.cache import NodeState


def view_proxy(node: str, state: NodeState, now: float) -> dict[str, object]:
    """How far a proxy is; ``now`` in seconds since 1970."""
    return {
        "node": node,
        "connected": state.streams > 0,
        "inSync": state.in_sync,
        "sinceSeconds": None if state.since is None else round(max(now - state.since, 0.0), 3),
        "rejections": [
            {
                "typeUrl": rejection.type_url,
                "resources": list(rejection.names),
                "message": rejection.message,
                "objects": sorted(str(source) for source in rejection.sources),
            }
            for rejection in state.rejections
        ],
    }
