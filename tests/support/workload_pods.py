"""Workloads of one cluster that an API server for tests runs programs in: no Envoy, no control plane."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.support.apiserver import RunningApiServer, run_api_server

from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.logfile import LogFile
from meshpass.localmesh.meshfile import LocalMesh
from meshpass.localmesh.objects import Placement, pod_status, workload_objects
from meshpass.localmesh.parse import parse_mesh_file
from meshpass.localmesh.pods import local_pods
from meshpass.localmesh.workload_process import log_path

MESH_FILE = """
apiVersion: meshpass/v1alpha1
kind: LocalMesh
clusters: [{name: test, management: true}]
workloads:
- {name: client, namespace: default, cluster: test}
- {name: program, namespace: default, cluster: test, command: [sh], workingDirectory: inner, env: {COLOUR: blue},
   service: {ports: [{port: 80}]}}
- {name: entry, namespace: default, cluster: test, proxy: gateway, service: {ports: [{port: 80}]}}
"""
ADDRESS = "127.1.2.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadServer:
    """The server, and where the logs of its workloads are."""

    server: RunningApiServer
    mesh: LocalMesh
    state: StateDirectory

    def log(self, workload: str, kind: str = "app", *, limit: int = 1024 * 1024) -> LogFile:
        """The log of a workload's ``app`` or ``envoy``, to write to."""
        found = next(one for one in self.mesh.workloads if one.name == workload)
        return LogFile(log_path(self.state, found, kind), limit=limit)


@asynccontextmanager
async def run_workload_server(directory: Path) -> AsyncIterator[WorkloadServer]:
    """An API server that has the Pods of the mesh file above, in the namespace ``default``."""
    mesh = parse_mesh_file(MESH_FILE)
    (directory / "inner").mkdir()
    state = StateDirectory(path=directory / "mesh")
    state.prepare()
    placements = {one.key: Placement(address=ADDRESS, apps={}) for one in mesh.workloads}
    pods = local_pods(mesh, placements, state=state, base_directory=directory)["test"]
    async with run_api_server(directory, pods=pods) as server:
        for raw in workload_objects(mesh, "test", placements):
            if raw["kind"] in {"Pod", "Service"}:
                path = f"/api/v1/namespaces/default/{raw['kind'].lower()}s"
                (await server.client.post(path, json=raw)).raise_for_status()
        for one in mesh.workloads:
            path = f"/api/v1/namespaces/default/pods/{one.name}/status"
            headers = {"Content-Type": "application/merge-patch+json"}
            status = json.dumps(pod_status(one, placements[one.key], datetime.now(UTC)))
            (await server.client.patch(path, content=status, headers=headers)).raise_for_status()
        yield WorkloadServer(server=server, mesh=mesh, state=state)
