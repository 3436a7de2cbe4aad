"""State directory: what of a mesh is on disk, who runs it now, and where its sockets are."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from meshpass.errors import LocalMeshError
from meshpass.localmesh.processrecord import ProcessRecord
from meshpass.secretfile import make_private_directory, write_secret_file

_LONGEST_SOCKET_PATH = 100
"""Bytes; the systems' own limits for Unix sockets are 104 (BSD, macOS) and 108 (Linux), with the final zero."""
_PREFIX = "meshpass-run-"
_LONGEST_SOCKET_NAME = len("/control-management-server.sock")


class ClusterRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One cluster as it runs: its name is its context's too."""

    name: str
    management: bool
    port: int
    """Of its API server on this machine; 0 for one that somebody else runs."""
    url: str = ""
    """Where that one is."""

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self.url or f"https://127.0.0.1:{self.port}"


class WorkloadRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One workload as it runs."""

    cluster: str
    namespace: str
    name: str
    node: str
    """The id of its Envoy."""
    address: str
    """The Pod's address; a sidecar takes the workload's own requests on port 15001 of it."""
    app: str | None = None
    """What answers behind the sidecar."""
    gateway_ports: dict[str, int] = {}
    """Of a gateway: where it can listen, by the name of the Service's port (its number, where it has no name)."""

    @property
    def is_gateway(self) -> bool:
        """True for a gateway."""
        return bool(self.gateway_ports)

    @property
    def proxy_url(self) -> str:
        """What ``http_proxy`` is for this workload."""
        return f"http://{self.address}:15001"


class MeshRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a supervisor says about its mesh in ``mesh.json``."""

    pid: int
    ready: bool
    run_directory: str
    clusters: tuple[ClusterRecord, ...] = ()
    workloads: tuple[WorkloadRecord, ...] = ()
    processes: tuple[ProcessRecord, ...] = ()
    """Those of the control plane, the management server first; one alone is the supervisor."""
    relay_port: int | None = None
    """Where the management server waits for agents, on 127.0.0.1."""
    trust_domain: str = "cluster.local"

    @property
    def management(self) -> str:
        """The name of the management cluster."""
        return next(cluster.name for cluster in self.clusters if cluster.management)

    @property
    def workload_clusters(self) -> tuple[str, ...]:
        """The names of the other clusters, in the order of the mesh file."""
        return tuple(cluster.name for cluster in self.clusters if not cluster.management)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDirectory:
    """The paths in one state directory. Nothing is made before `prepare`."""

    path: Path
    """Absolute."""

    @property
    def kubeconfig(self) -> Path:
        """Contexts of all clusters; mode 0600."""
        return self.path / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One log per child process, and the supervisor's own."""
        return self.path / "logs"

    @property
    def supervisor_log(self) -> Path:
        """What a detached supervisor says."""
        return self.logs / "supervisor.log"

    def cluster(self, name: str) -> Path:
        """What the API server of one cluster keeps."""
        return self.path / "clusters" / name

    @property
    def management_server(self) -> Path:
        """What the management server keeps."""
        return self.path / "management-server"

    def agent(self, cluster: str) -> Path:
        """What the agent of a cluster keeps; its credentials are in ``credentials`` there."""
        return self.path / "agents" / cluster

    @property
    def _record(self) -> Path:
        return self.path / "mesh.json"

    @property
    def _lock(self) -> Path:
        return self.path / "lock"

    def prepare(self) -> None:
        """The directory and its parts are there, readable by their owner alone."""
        try:
            for path in (self.path, self.logs):
                make_private_directory(path)
        except OSError as error:
            raise LocalMeshError(f"{self.path}: cannot be made: {error.strerror}") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the directory for one supervisor; the lock goes with its process, however that ends.

        Raises LocalMeshError where another supervisor holds it.
        """
        with os.fdopen(os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as file:
            os.fchmod(file.fileno(), 0o600)
            # A `status` that looks holds the lock for microseconds; only a supervisor holds it longer.
            deadline = time.monotonic() + 0.2
            while not _try_lock(file.fileno(), fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise self.already_running()
                time.sleep(0.01)
            yield

    def already_running(self) -> LocalMeshError:
        """What to tell somebody who wants to start a mesh where one runs."""
        record = self.read_record()
        by = f" (pid {record.pid})" if record else ""
        return LocalMeshError(
            f"a mesh is already running on {self.path}{by}",
            hint="`meshpass status` shows it, `meshpass down` ends it, `--dir` starts another one elsewhere",
        )

    def is_held(self) -> bool:
        """True while a supervisor runs on this directory."""
        try:
            with self._lock.open("r+") as file:
                return not _try_lock(file.fileno(), fcntl.LOCK_SH)
        except OSError:
            return False

    def read_record(self) -> MeshRecord | None:
        """What the last supervisor wrote; it may be gone."""
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=MeshRecord)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def write_record(self, record: MeshRecord) -> None:
        """``mesh.json`` is this record, whole, for its owner alone."""
        write_secret_file(self._record, msgspec.json.format(msgspec.json.encode(record), indent=2))

    def running(self) -> MeshRecord:
        """The mesh that runs here. Raises LocalMeshError where none does, and where one has not got far enough."""
        record = self.read_record()
        if record is None or not self.is_held():
            raise LocalMeshError(
                f"no mesh is running on {self.path}",
                hint="start one with `meshpass up --detach`, or name its directory with --dir or MESHPASS_DIR",
            )
        if not record.clusters:
            raise LocalMeshError(f"a mesh is just starting on {self.path}", hint="try again in a second")
        return record

    def make_run_directory(self) -> Path:
        """An empty directory of mode 0700 for Unix sockets, whose paths have to be short. Call it under the lock.

        It is ``run`` in the state directory where that is short enough, else in a temporary directory; what a
        supervisor that was killed left of either is removed. Raises LocalMeshError where both are too long.
        """
        own = self.path / "run"
        record = self.read_record()
        for stale in {own, *([Path(record.run_directory)] if record else [])}:
            if stale == own or _is_ours(stale):
                shutil.rmtree(stale, ignore_errors=True)
        if _is_short(own):
            own.mkdir(mode=0o700)
            return own
        prefix = f"{_PREFIX}{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:8]}-"
        parent = next((one for one in _temporary() if _is_short(one / f"{prefix}12345678")), None)
        if parent is None:
            raise LocalMeshError(
                f"{self.path} is too long for Unix sockets, and so is the temporary directory",
                hint="use a shorter --dir, or a shorter TMPDIR",
            )
        return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


def control_socket(run_directory: Path) -> Path:
    """Where a control plane of one process answers status and wait."""
    return run_directory / "control.sock"


def ads_socket(run_directory: Path) -> Path:
    """Where a control plane of one process answers Envoys."""
    return run_directory / "ads.sock"


def supervisor_socket(run_directory: Path) -> Path:
    """Where the supervisor is told to stop and start parts of the mesh."""
    return run_directory / "supervisor.sock"


def default_directory() -> Path:
    """``$MESHPASS_DIR``, else ``.meshpass`` here."""
    return Path(os.environ.get("MESHPASS_DIR") or ".meshpass")


def state_directory(path: Path | None) -> StateDirectory:
    """The state directory that a command was told, or the default one."""
    return StateDirectory(path=(path or default_directory()).absolute())


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _temporary() -> tuple[Path, ...]:
    return (Path(tempfile.gettempdir()), Path("/tmp"))  # noqa: S108 - mkdtemp makes a private directory in it


def _is_short(directory: Path) -> bool:
    return len(os.fsencode(directory)) + _LONGEST_SOCKET_NAME <= _LONGEST_SOCKET_PATH


def _is_ours(path: Path) -> bool:
    """True for a directory that `make_run_directory` made under the temporary directory, and nobody put there since."""
    with suppress(OSError):
        status = path.lstat()
        return (
            path.parent in _temporary()
            and path.name.startswith(_PREFIX)
            and stat.S_ISDIR(status.st_mode)
            and status.st_uid == os.getuid()
        )
    return False
