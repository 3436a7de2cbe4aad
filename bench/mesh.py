"""A mesh to measure: started in a directory of its own, reached as users reach it."""

from __future__ import annotations

import base64
import json
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.objects import NAMESPACE, Raw, RouteShape, route_tables, upstream_objects
from bench.upstream import run_upstream
from bench.wire import Answer, Connection
from meshpass.api.kinds import kind_of
from meshpass.localmesh.control import read_raw_status
from meshpass.localmesh.detach import start_detached
from meshpass.localmesh.directory import MeshRecord, StateDirectory, WorkloadRecord, control_socket
from meshpass.localmesh.meshcontrol import wait_mesh
from meshpass.localmesh.stop import stop_mesh

CLUSTER = "cluster1"
MESH_FILE = Path(__file__).with_name("mesh.yaml")
STORING_CONNECTIONS = 8
_SYNC_SECONDS = 60.0

Start = Callable[[StateDirectory], MeshRecord]


class BenchError(Exception):
    """The mesh did not do what a benchmark needs."""


class ApiConnection(Connection):
    """One keep-alive connection to an API server, with its holder's token."""

    def __init__(self, kubeconfig: Path, context: str) -> None:
        document = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster = next(one["cluster"] for one in document["clusters"] if one["name"] == context)
        host, _, port = cluster["server"].removeprefix("https://").rpartition(":")
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        super().__init__((host, int(port)), tls=ssl.create_default_context(cadata=authority))
        self._token = next(one["user"]["token"] for one in document["users"] if one["name"] == context)

    def render(self, method: str, path: str, body: Any = None) -> bytes:
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data

    def get(self, path: str) -> Raw:
        return self._checked("GET", path)

    def store(self, raw: Raw) -> None:
        """The object is there with this content."""
        if self.ask(self.render("POST", collection_path(raw), raw)).status == 409:
            self.update(raw)

    def update(self, raw: Raw) -> None:
        """The object, which was there, has this content."""
        while (answer := self.ask(self.render_update(raw))).status == 409:
            pass  # a status was written after the version was read
        _check(answer, f"PUT of {object_path(raw)}")

    def put_status(self, raw: Raw) -> None:
        """The object, which is there, has this status."""
        path = f"{object_path(raw)}/status"
        _check(self.ask(self.render("PUT", path, raw)), f"PUT of {path}")

    def delete(self, path: str) -> None:
        self._checked("DELETE", path)

    def render_update(self, raw: Raw) -> bytes:
        """A PUT of the object, made for the version that the server has now."""
        path = object_path(raw)
        version = self.get(path)["metadata"]["resourceVersion"]
        return self.render("PUT", path, {**raw, "metadata": {**raw["metadata"], "resourceVersion": version}})

    def _checked(self, method: str, path: str) -> Raw:
        answer = self.ask(self.render(method, path))
        _check(answer, f"{method} {path}")
        found: Raw = json.loads(answer.body)
        return found


def _check(answer: Answer, what: str) -> None:
    if answer.status >= 300:
        raise BenchError(f"{what} was answered {answer.status}: {answer.body[:500]!r}")


def collection_path(raw: Raw) -> str:
    version = raw["apiVersion"]
    prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
    kind = kind_of(version, raw["kind"])
    assert kind is not None
    return f"{prefix}/namespaces/{NAMESPACE}/{kind.plural}"


def object_path(raw: Raw) -> str:
    return f"{collection_path(raw)}/{raw['metadata']['name']}"


@dataclass(frozen=True)
class Mesh:
    """A mesh that runs."""

    state: StateDirectory
    record: MeshRecord
    edited_in: str = CLUSTER
    """The cluster in which objects are stored."""
    asked_in: str = CLUSTER
    """The cluster whose client asks."""

    @cached_property
    def _client(self) -> WorkloadRecord:
        return next(one for one in self.record.workloads if (one.name, one.cluster) == ("client", self.asked_in))

    @property
    def client_address(self) -> tuple[str, int]:
        """Where the sidecar of the workload `client` takes its requests."""
        return self._client.address, 15001

    @property
    def client_node(self) -> str:
        return self._client.node

    @cached_property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(self.record.pid)

    @cached_property
    def sidecar(self) -> psutil.Process:
        """The Envoy of the workload `client`: the one that listens at its address."""
        for child in self.supervisor.children(recursive=True):
            if any(one.laddr[:2] == self.client_address for one in child.net_connections(kind="tcp")):
                return child
        raise BenchError("no process listens at the address of the client's sidecar")

    def api(self) -> ApiConnection:
        return ApiConnection(self.state.kubeconfig, self.edited_in)

    def revision(self) -> int:
        """How many sets of objects the control plane has seen."""
        status = read_raw_status(control_socket(Path(self.record.run_directory)))
        return int(status["revision"])

    def wait(self) -> None:
        """Every proxy has acknowledged what was stored before, and the statuses are written."""
        late = wait_mesh(self.record, timeout=_SYNC_SECONDS)
        if late:
            raise BenchError(f"late after {_SYNC_SECONDS:g} s: {', '.join(late)}")

    def store(self, objects: Iterable[Raw]) -> None:
        """The objects are stored, in no fixed order, and every proxy has them."""
        self.send(objects)
        self.wait()

    def send(self, objects: Iterable[Raw]) -> None:
        """The objects are stored, by a few connections at once."""
        given = tuple(objects)
        shares = [given[start::STORING_CONNECTIONS] for start in range(STORING_CONNECTIONS)]
        with ThreadPoolExecutor(STORING_CONNECTIONS) as pool:
            for _ in pool.map(self._send, filter(None, shares)):
                pass  # what went wrong is raised here

    def _send(self, objects: Iterable[Raw]) -> None:
        with self.api() as api:
            for raw in objects:
                api.store(raw)

    def restarted(self) -> Mesh:
        """The mesh, stopped and started again with what is stored."""
        stop_mesh(self.state)
        return Mesh(state=self.state, record=start_as_users_do(self.state))

    def set_routes(self, shape: RouteShape) -> None:
        """The protected routes are exactly these, and every proxy has them."""
        wanted = {raw["metadata"]["name"]: raw for raw in route_tables(shape)}
        with self.api() as api:
            path = collection_path(next(iter(wanted.values())))
            for item in api.get(f"{path}?labelSelector=bench%3Droutes")["items"]:
                if item["metadata"]["name"] not in wanted:
                    api.delete(f"{path}/{item['metadata']['name']}")
        self.store(wanted.values())


def start_as_users_do(state: StateDirectory) -> MeshRecord:
    """The supervisor runs as with `meshpass up --detach -f MESH_FILE`, and ends with this process."""
    return start_detached(MESH_FILE, state, lambda _line: None, tied=True)


@contextmanager
def run_mesh(start: Start = start_as_users_do) -> Iterator[Mesh]:
    """The guide's mesh, with the benchmark's upstream as a Service."""
    with scratch_directory() as directory, run_upstream(directory) as port:
        state = StateDirectory(path=directory / "mesh")
        try:
            mesh = Mesh(state=state, record=start(state))
            mesh.store(upstream_objects(port))
            yield mesh
        finally:
            stop_mesh(state)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="meshpass-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def note(text: str) -> None:
    """What is going on, for whoever waits."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()
