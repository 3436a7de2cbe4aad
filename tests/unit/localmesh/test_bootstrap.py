"""The bootstrap is one that Envoy accepts, and tells it where the control plane is."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from meshpass.localmesh.bootstrap import BootstrapSettings, build_bootstrap, build_command
from meshpass.localmesh.envoy_binary import find_envoy

SETTINGS = BootstrapSettings(
    node="sidecar~c~n~w", node_cluster="w.n", ads_socket=Path("/run/ads.sock"), admin_socket=Path("/run/admin.sock")
)


def test_everything_comes_over_delta_ads():
    """Listeners and clusters by ADS in the delta variant; the one static cluster leads to the socket over HTTP/2."""
    found = build_bootstrap(SETTINGS)

    assert found["node"] == {"id": "sidecar~c~n~w", "cluster": "w.n"}
    dynamic = found["dynamic_resources"]
    assert dynamic["ads_config"]["api_type"] == "DELTA_GRPC"
    assert dynamic["lds_config"] == dynamic["cds_config"] == {"ads": {}, "resource_api_version": "V3"}
    (cluster,) = found["static_resources"]["clusters"]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"] == {"pipe": {"path": "/run/ads.sock"}}
    assert "http2_protocol_options" in str(cluster["typed_extension_protocol_options"])


def test_nothing_listens_on_a_port():
    """The admin interface is a socket in the run directory, for its owner alone."""
    found = build_bootstrap(SETTINGS)

    assert found["admin"]["address"] == {"pipe": {"path": "/run/admin.sock", "mode": 0o600}}
    assert "socket_address" not in json.dumps(found)


def test_connections_begin_at_the_address_of_the_pod():
    """If it has one of its own; to addresses of the other version of IP they begin wherever the system says."""
    assert "cluster_manager" not in build_bootstrap(SETTINGS)
    for address, other in (("127.0.1.1", "::"), ("fd00::1", "0.0.0.0")):
        bind = build_bootstrap(replace(SETTINGS, address=address))["cluster_manager"]["upstream_bind_config"]
        assert bind["source_address"] == {"address": address, "port_value": 0}
        assert [one["address"]["address"] for one in bind["extra_source_addresses"]] == [other]


@pytest.mark.envoy
@pytest.mark.parametrize("address", ["", "127.0.1.1", "::1"])
def test_envoy_accepts_it_without_a_warning(tmp_path, address):
    """``--mode validate`` of the real Envoy, with the command line that workloads get."""
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps(build_bootstrap(replace(SETTINGS, address=address))))

    done = subprocess.run(
        [*build_command(find_envoy(), path), "--mode", "validate"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ""
