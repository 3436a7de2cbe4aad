"""API servers in processes of their own, so that a test can kill them, and one kubeconfig for them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from meshpass.localmesh.existing import ExistingServers

PLAIN = ("meshpass.cli.main", "api-server")
STRICT = ("tests.support.strict_api_server",)


@dataclass(kw_only=True)
class ApiServers:
    """One API server per cluster, without Meshpass' kinds until somebody installs them."""

    directory: Path
    clusters: tuple[str, ...]
    program: tuple[str, ...] = PLAIN
    _ports: dict[str, int] = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        """Contexts ``<cluster>-context`` of all of them."""
        return self.directory / "kubeconfig"

    @property
    def existing(self) -> ExistingServers:
        """What `up` is told of them."""
        contexts = {cluster: f"{cluster}-context" for cluster in self.clusters}
        return ExistingServers(kubeconfig=str(self.kubeconfig), contexts=contexts)

    def own(self, cluster: str) -> Path:
        """The directory of one server."""
        return self.directory / cluster

    def start(self, cluster: str) -> None:
        """The server accepts connections, at the port that it had before."""
        port = self._ports.setdefault(cluster, _free_port())
        command = (
            *self.program,
            "--directory",
            str(self.own(cluster)),
            "--name",
            cluster,
            "--port",
            str(port),
            "--bare",
        )
        log = (self.directory / f"{cluster}.log").open("a")
        process = subprocess.Popen(
            (sys.executable, "-m", *command), stdout=log, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        log.close()
        self._processes[cluster] = process
        assert process.stderr is not None
        said = process.stderr.readline()
        assert "is served at" in said, said

    def kill(self, cluster: str) -> None:
        """The server is gone, without a moment to tidy up."""
        process = self._processes.pop(cluster)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def write_kubeconfig(self) -> None:
        """The kubeconfig has every server; tokens and certificates are those of the servers' own files."""
        parts = {cluster: yaml.safe_load((self.own(cluster) / "kubeconfig").read_text()) for cluster in self.clusters}
        made = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [part["clusters"][0] for part in parts.values()],
            "users": [part["users"][0] for part in parts.values()],
            "contexts": [
                {"name": f"{cluster}-context", "context": {"cluster": cluster, "user": cluster}} for cluster in parts
            ],
            "current-context": f"{self.clusters[0]}-context",
        }
        self.kubeconfig.write_text(yaml.safe_dump(made))
        self.kubeconfig.chmod(0o600)

    def stop(self) -> None:
        """All of them are gone."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(timeout=20)


@contextmanager
def running_api_servers(
    directory: Path, clusters: tuple[str, ...], program: tuple[str, ...] = PLAIN
) -> Iterator[ApiServers]:
    """Inside, one server per cluster answers."""
    servers = ApiServers(directory=directory, clusters=clusters, program=program)
    try:
        for cluster in clusters:
            servers.start(cluster)
        servers.write_kubeconfig()
        yield servers
    finally:
        servers.stop()


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
