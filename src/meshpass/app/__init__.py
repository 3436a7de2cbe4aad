"""Composition root of the control plane: frozen settings in, one TaskGroup out. Read `controlplane` first.

API servers ─► Informer ─► ObjectStore ─► Reconciler ─► SnapshotCache ─► AdsServer ─► Envoys
▲                            ▲   │        │  ▲                              │
│                            │   └─ relay to and from other processes ──────┤
└──── StatusWriter, EventRecorder ◄───────┘  └─────── acknowledged ◄────────┘

It runs in one of three roles (`settings.Role`): alone, for all clusters; as management server; as agent of a cluster.
"""

from meshpass.app.controlplane import run_control_plane, serve_control_plane
from meshpass.app.memory import COLLECT_AFTER
from meshpass.app.settings import ControlPlaneSettings, RelayConnect, RelayListen, Role
from meshpass.app.watched import WATCHED

__all__ = [
    "COLLECT_AFTER",
    "WATCHED",
    "ControlPlaneSettings",
    "RelayConnect",
    "RelayListen",
    "Role",
    "run_control_plane",
    "serve_control_plane",
]
