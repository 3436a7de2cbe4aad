"""LocalPods: the workloads of one cluster as what its API server runs programs in and reads logs of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from meshpass.apiserver.podruntime import CommandRequest, ContainerName, LogCursor
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.logcursor import open_run_log
from meshpass.localmesh.meshfile import PROXY_CONTAINER, LocalMesh, Workload
from meshpass.localmesh.objects import Placements
from meshpass.localmesh.outbound import command_environment
from meshpass.localmesh.podcommand import PodCommand, run_command
from meshpass.localmesh.workload_process import log_path


class LocalPods:
    """Programs run here, as the user who runs the mesh; what makes one part of a workload is the way it sends by."""

    def __init__(
        self, workloads: Iterable[Workload], placements: Placements, *, state: StateDirectory, base_directory: Path
    ) -> None:
        self._workloads = {(one.namespace, one.name): one for one in workloads}
        self._placements = placements
        self._state = state
        self._base_directory = base_directory

    def runs(self, name: ContainerName) -> bool:
        """True for the Pod of a workload; others may be stored too."""
        return (name.namespace, name.pod) in self._workloads

    def refuses(self, name: ContainerName) -> str:
        """Why no command can run in that container; empty where one can."""
        if name.container != PROXY_CONTAINER:
            return ""
        if self._workload(name).is_gateway:
            return f"{name.pod} is a gateway: it takes requests from outside, and nothing sends through it from inside"
        return f"{PROXY_CONTAINER} is the Envoy alone, commands run in the container {name.pod}: -c {name.pod}"

    def run(self, name: ContainerName, request: CommandRequest) -> AbstractAsyncContextManager[PodCommand]:
        """The program runs inside the context, as `meshpass exec` would run it, and nothing of it after."""
        workload = self._workload(name)
        environment = {**command_environment(self._placements[workload.key].address), **workload.env}
        return run_command(request, environment=environment, directory=self._directory(workload))

    def open_log(self, name: ContainerName, *, previous: bool) -> LogCursor | None:
        """The log of the workload's program, or of its Envoy."""
        kind = "envoy" if name.container == PROXY_CONTAINER else "app"
        return open_run_log(log_path(self._state, self._workload(name), kind), previous=previous)

    def _workload(self, name: ContainerName) -> Workload:
        return self._workloads[name.namespace, name.pod]

    def _directory(self, workload: Workload) -> Path:
        """The program's own; without one, where the mesh was started from, if that is still there."""
        if workload.command is not None:
            return self._base_directory / (workload.working_directory or "")
        started_from = Path()
        return started_from if started_from.is_dir() else self._state.path


def local_pods(
    mesh: LocalMesh, placements: Placements, *, state: StateDirectory, base_directory: Path
) -> Mapping[str, LocalPods]:
    """What runs the Pods of each cluster, by its name."""
    return {
        cluster.name: LocalPods(
            (one for one in mesh.workloads if one.cluster == cluster.name),
            placements,
            state=state,
            base_directory=base_directory,
        )
        for cluster in mesh.clusters
    }
