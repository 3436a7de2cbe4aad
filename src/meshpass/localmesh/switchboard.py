"""Switchboard: the parts of a running mesh that can be stopped and started, by the names that people use."""

from __future__ import annotations

import asyncio
import difflib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from meshpass.errors import LocalMeshError
from meshpass.localmesh.process import ChildProcess

_PATIENCE_SECONDS = 15.0
"""How long one that asked waits for a part to be up again, or for its cluster to know of it."""


class PartKind(Enum):
    """What a part is; the value is the first word of its name."""

    MANAGEMENT_SERVER = "management-server"
    AGENT = "agent"
    PROXY = "proxy"
    WORKLOAD = "workload"


class PartRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How one part is."""

    name: str
    """Unambiguous: ``workload/cluster1/httpbin/httpbin``."""
    stopped: bool
    """True from stop to start; a part that has crashed is not stopped."""
    pid: int | None
    """None while it does not run."""
    restarts: int
    """How often it was started anew because it had ended by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part: its process, and how to know that the rest of the mesh has noticed."""

    kind: PartKind
    path: tuple[str, ...]
    """Nothing, the cluster, or cluster, namespace and workload."""
    child: ChildProcess
    settled: Callable[[bool], Awaitable[None]]
    """Returns once a part that runs (True) can be used, and once nobody is sent to one that is stopped (False)."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def name(self) -> str:
        """Its unambiguous name."""
        return "/".join((self.kind.value, *self.path))

    @property
    def record(self) -> PartRecord:
        """How it is now."""
        child = self.child
        return PartRecord(name=self.name, stopped=child.stopped, pid=child.pid, restarts=child.restarts)


class Switchboard:
    """All parts of a mesh. Whoever is asked for something that it does not have says what there is."""

    def __init__(self, parts: Iterable[Part], *, without_program: Iterable[tuple[str, ...]], alone: bool) -> None:
        """``without_program`` are the workloads that have none of ours; ``alone``: the control plane is the supervisor."""
        self.parts = tuple(parts)
        self._without_program = tuple(without_program)
        self._alone = alone

    @property
    def records(self) -> tuple[PartRecord, ...]:
        """How every part is."""
        return tuple(part.record for part in self.parts)

    async def stop(self, name: str) -> tuple[PartRecord, bool]:
        """The part does not run, its cluster knows, and it stays so until `start`; True where that is a change.

        Raises LocalMeshError for a name that is of no part, or of several.
        """
        part = self.find(name)
        async with part.lock:
            changed = not part.child.stopped
            await part.child.stop()
            await self._settle(part, running=False)
            return part.record, changed

    async def start(self, name: str) -> tuple[PartRecord, bool]:
        """The part runs and can be used; True where it was stopped before. Raises LocalMeshError as `stop`."""
        part = self.find(name)
        async with part.lock:
            changed = part.child.stopped
            part.child.start()
            await self._settle(part, running=True)
            return part.record, changed

    async def _settle(self, part: Part, *, running: bool) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await part.settled(running)
        except TimeoutError as error:
            done = "runs, but does not answer" if running else "has ended, but its cluster could not be told"
            raise LocalMeshError(
                f"{part.name} {done} after {_PATIENCE_SECONDS:g} s", hint=f"its log is {part.child.spec.log}"
            ) from error

    def find(self, name: str) -> Part:
        """The part of this name: ``agent/cluster1``, ``workload/reviews-v1``, ``proxy/cluster1/httpbin/client``.

        Raises LocalMeshError.
        """
        kind, *path = name.split("/")
        found = [part for part in self.parts if part.kind.value == kind and _matches(part.path, path)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(part.name for part in found)
            raise LocalMeshError(f"{name} may be any of {names}", hint="say which one, by its whole name")
        raise self._unknown(name, kind, path)

    def _unknown(self, name: str, kind: str, path: Sequence[str]) -> LocalMeshError:
        if self._alone and kind in {PartKind.MANAGEMENT_SERVER.value, PartKind.AGENT.value}:
            return LocalMeshError(
                "the control plane of this mesh is one process, the supervisor itself",
                hint="a mesh of several workload clusters has a management server and agents that can be stopped",
            )
        silent = ["/".join(one) for one in self._without_program if _matches(one, path)]
        if kind == PartKind.WORKLOAD.value and silent:
            return LocalMeshError(
                f"{silent[0]} has no program that the mesh has started",
                hint=f"proxy/{silent[0]} is its Envoy, which can be stopped",
            )
        names = display_names(part.name for part in self.parts)
        close = difflib.get_close_matches(name, {**names, **dict.fromkeys(names.values(), "")}, n=1)
        hint = f"did you mean {close[0]}?" if close else "`meshpass status` names what there is"
        return LocalMeshError(f"the mesh has no {name}", hint=hint)


def _matches(path: Sequence[str], said: Sequence[str]) -> bool:
    return list(path) == list(said) or (len(path) > 1 and list(path[-1:]) == list(said))


def display_names(names: Iterable[str]) -> dict[str, str]:
    """Name → the shortest one that `Switchboard.find` takes for it: without cluster and namespace, if it is the only one."""
    every = tuple(names)
    short = {name: "/".join((name.split("/")[0], *name.split("/")[1:][-1:])) for name in every}
    counts = Counter(short.values())
    return {name: short[name] if counts[short[name]] == 1 else name for name in every}
