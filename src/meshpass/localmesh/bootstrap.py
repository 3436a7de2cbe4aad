"""Bootstrap of one Envoy: who it is, and that everything else comes over delta ADS."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from meshpass.envoy.access_log import CONTROL_PLANE

_CONNECTION_LIMIT = (
    "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
)
_HTTP_OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapSettings:
    """What differs from one Envoy to the next. Paths of Unix sockets are limited to about 100 bytes."""

    node: str
    node_cluster: str
    ads_socket: Path
    admin_socket: Path
    address: str = ""
    """The pod's IP address, at which connections to others begin; empty: wherever the system lets them begin."""


def build_bootstrap(settings: BootstrapSettings) -> dict[str, Any]:
    """The bootstrap as JSON: no listener or cluster of its own but the way to the control plane."""
    ads: dict[str, Any] = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": settings.node, "cluster": settings.node_cluster},
        "admin": {"address": {"pipe": {"path": str(settings.admin_socket), "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [
                    {"envoy_grpc": {"cluster_name": CONTROL_PLANE, "retry_policy": {"retry_back_off": _back_off()}}}
                ],
            },
            "lds_config": ads,
            "cds_config": ads,
        },
        **({"cluster_manager": {"upstream_bind_config": _bind(settings.address)}} if settings.address else {}),
        "static_resources": {"clusters": [_control_plane_cluster(settings.ads_socket)]},
        # Statistics are the larger part of the memory of an Envoy with many routes: only what is looked at is kept.
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [
                        {"prefix": prefix}
                        for prefix in ("server.", "listener_manager.", "cluster_manager.", "control_plane.", "http.")
                    ]
                }
            }
        },
        # The sidecars of one machine share its file descriptors: one of them shall not take them all.
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": _CONNECTION_LIMIT,
                        "max_active_downstream_connections": 20000,
                    },
                }
            ]
        },
        "layered_runtime": {
            "layers": [
                {
                    "name": "meshpass",
                    "static_layer": {
                        # A larger program of a user's regular expression is refused as a NACK, not run.
                        "re2": {"max_program_size": {"error_level": 1000}},
                    },
                }
            ]
        },
    }


def _bind(address: str) -> dict[str, Any]:
    """Callees see the address of the pod. To addresses of the other version of IP, connections begin anywhere."""
    other = "::" if ip_address(address).version == 4 else "0.0.0.0"  # noqa: S104 - nothing listens there
    return {
        "source_address": {"address": address, "port_value": 0},
        "extra_source_addresses": [{"address": {"address": other, "port_value": 0}}],
    }


def build_command(envoy: Path, bootstrap: Path, *, log_level: str = "warning") -> tuple[str, ...]:
    """How an Envoy with this bootstrap is started: one worker, no hot restart, so no shared memory."""
    return (
        *(str(envoy), "--config-path", str(bootstrap), "--concurrency", "1", "--disable-hot-restart"),
        *("--log-level", log_level, "--drain-time-s", "1", "--parent-shutdown-time-s", "1"),
    )


def _control_plane_cluster(socket: Path) -> dict[str, Any]:
    return {
        "name": CONTROL_PLANE,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP_OPTIONS,
                "explicit_http_config": {
                    # A control plane that hangs without closing its socket is noticed.
                    "http2_protocol_options": {"connection_keepalive": {"interval": "5s", "timeout": "2s"}}
                },
            }
        },
        "load_assignment": {
            "cluster_name": CONTROL_PLANE,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(socket)}}}}]}],
        },
    }


def _back_off() -> dict[str, str]:
    return {"base_interval": "0.1s", "max_interval": "2s"}
