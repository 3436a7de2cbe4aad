"""A whole local mesh for tests: real API servers, control plane and Envoys in a directory of its own."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from meshpass.api.manifest import load_documents
from meshpass.errors import ApiError
from meshpass.kube.apply import apply_raw
from meshpass.kube.client import KubeClient
from meshpass.kube.discovery import discover
from meshpass.localmesh.control import ControlStatus
from meshpass.localmesh.detach import RunnerOptions, start_detached
from meshpass.localmesh.directory import MeshRecord, StateDirectory, WorkloadRecord
from meshpass.localmesh.existing import ExistingServers
from meshpass.localmesh.meshcontrol import read_mesh_status, wait_mesh
from meshpass.localmesh.meshfile import default_mesh_path
from meshpass.localmesh.stop import stop_mesh


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What came back through a sidecar; header names are in small letters."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)


class Connection:
    """One keep-alive connection of a workload to its sidecar."""

    def __init__(self, address: str) -> None:
        self._http = http.client.HTTPConnection(address, 15001, timeout=15)

    def request(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        """The answer to one request; the connection stays open where the sidecar lets it."""
        self._http.request(method, url, body=body, headers=dict(headers or {}))
        answer = self._http.getresponse()
        text = answer.read().decode(errors="replace")
        return Response(
            status=answer.status, headers={name.lower(): value for name, value in answer.getheaders()}, text=text
        )

    @property
    def is_open(self) -> bool:
        """False once the sidecar has closed the connection after an answer."""
        return self._http.sock is not None

    def close(self) -> None:
        """The connection is closed."""
        self._http.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """A running mesh."""

    state: StateDirectory
    record: MeshRecord

    def workload(self, name: str, namespace: str = "httpbin", cluster: str = "cluster1") -> WorkloadRecord:
        """The workload of this name."""
        return next(
            one for one in self.record.workloads if (one.cluster, one.namespace, one.name) == (cluster, namespace, name)
        )

    def connect(self, workload: str = "client", cluster: str = "cluster1") -> Connection:
        """A connection of the workload to its sidecar."""
        return Connection(self.workload(workload, cluster=cluster).address)

    def request(
        self,
        url: str = "http://www.example.com/get",
        *,
        workload: str = "client",
        cluster: str = "cluster1",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """The answer to one request of the workload, on a connection of its own."""
        connection = self.connect(workload, cluster)
        try:
            whole = f"{url}?{urlencode(query)}" if query else url
            return connection.request(whole, method=method, headers=headers, body=body)
        finally:
            connection.close()

    def apply(self, text: str, context: str | None = None, *, wait: bool = True) -> None:
        """The manifests in the text are stored, and (with ``wait``) every proxy has what follows from them."""

        async def apply() -> None:
            async with self.client(context) as client:
                for raw in load_documents(text):
                    await apply_raw(client, raw)

        asyncio.run(apply())
        if wait:
            self.wait()

    def delete(
        self, kind: str, name: str, *, namespace: str = "httpbin", context: str | None = None, wait: bool = True
    ) -> None:
        """The object is gone, if it was there, and (with ``wait``) every proxy has what follows from that."""

        async def delete() -> None:
            async with self.client(context) as client:
                try:
                    await client.delete(await discover(client, kind), namespace, name)
                except ApiError as error:
                    if error.code != 404:
                        raise

        asyncio.run(delete())
        if wait:
            self.wait()

    def get(self, kind: str, name: str, *, namespace: str = "httpbin", context: str | None = None) -> Mapping[str, Any]:
        """The object as it is stored."""

        async def get() -> Mapping[str, Any]:
            async with self.client(context) as client:
                return await client.get_raw(await discover(client, kind), namespace, name)

        return asyncio.run(get())

    def client(self, context: str | None = None) -> KubeClient:
        """A client of one cluster; the management cluster unless said."""
        cluster = context or self.record.management
        return KubeClient.from_kubeconfig(self.state.kubeconfig, cluster, cluster=cluster)

    def wait(self, seconds: float = 20.0) -> None:
        """Every proxy has acknowledged all that was stored before the call."""
        late = wait_mesh(self.record, timeout=seconds)
        assert late == (), f"late after {seconds} s: {late}"

    def status(self) -> ControlStatus:
        """What the control plane says of itself."""
        return read_mesh_status(self.record)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """What kubectl said about these arguments, with the mesh's kubeconfig."""
        program = shutil.which("kubectl")
        assert program is not None, "kubectl is not on PATH"
        return subprocess.run(
            [program, *arguments],
            env={**os.environ, "KUBECONFIG": str(self.state.kubeconfig), "HOME": str(self.state.path)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@contextmanager
def running_mesh(
    mesh_file: Path | None = None,
    *,
    directory: Path | None = None,
    apps: tuple[str, ...] | None = None,
    clusters: int | None = None,
    servers: ExistingServers | None = None,
) -> Iterator[Mesh]:
    """A mesh of the file (the default one unless said) that is ready inside the context and gone after it.

    With ``apps``, only these sample apps of it are started; with ``clusters``, only so many workload clusters, and with
    one of them everything is in one process, which is ready sooner. With ``servers``, it runs on these API servers.
    ``directory`` is its state directory, which is then kept; without it a temporary one is used. The supervisor dies
    with the test process even when that is killed.
    """
    temporary = tempfile.mkdtemp(prefix="meshpass-test-")
    state = StateDirectory(path=directory or Path(temporary) / "mesh")
    try:
        options = RunnerOptions(apps=apps, clusters=clusters, servers=servers)
        record = start_detached(mesh_file or default_mesh_path(), state, lambda _: None, options, tied=True)
        yield Mesh(state=state, record=record)
    finally:
        stop_mesh(state)
        shutil.rmtree(temporary, ignore_errors=True)
