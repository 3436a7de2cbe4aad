"""What ``check`` asks: each API server, the programs behind the sidecars, and the control plane."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meshpass.errors import LocalMeshError, MeshpassError

if TYPE_CHECKING:
    from meshpass.localmesh.directory import MeshRecord
    from meshpass.localmesh.processrecord import ProcessRecord

_SECONDS = 5.0
"""For each answer."""
_LISTENS_WITHIN = 0.5
_CATCHES_UP_WITHIN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """One API server."""

    cluster: str
    server: str
    version: str = ""
    latency_seconds: float | None = None
    """Of one small request over a connection that is open already."""
    error: str = ""
    hint: str = ""
    expires: datetime | None = None
    """When its serving certificate does; None where it could not be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One port of a workload, and where its program should listen."""

    cluster: str
    namespace: str
    name: str
    port: str
    address: str
    listens: bool

    @property
    def workload(self) -> str:
        """As messages name it."""
        return f"{self.cluster}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """What one process of the control plane says of itself."""

    process: ProcessRecord
    answer: Mapping[str, Any] | None
    """None: it did not answer."""
    latency_seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFacts:
    """What the control plane says of itself."""

    processes: tuple[ProcessFacts, ...]
    answer: Mapping[str, Any] | None
    """What those that answered say together; None: nobody answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the page is made from."""

    record: MeshRecord
    state: Path
    now: datetime
    servers: tuple[ServerFacts, ...]
    programs: tuple[Program, ...]
    """Of the Pods of those API servers that answer."""
    control: ControlFacts
    stopped: frozenset[str] = frozenset()
    """The parts of the mesh that somebody has stopped, by their whole names."""

    @property
    def workloads(self) -> Mapping[str, str]:
        """Node → workload, as messages name it."""
        return {one.node: f"{one.cluster}/{one.namespace}/{one.name}" for one in self.record.workloads}


async def ask_servers(kubeconfig: Path, clusters: Iterable[str]) -> tuple[tuple[ServerFacts, ...], tuple[Program, ...]]:
    """How each cluster's API server is, and the programs of its Pods."""
    asked = await asyncio.gather(*(_ask_server(kubeconfig, cluster) for cluster in clusters))
    return tuple(facts for facts, _ in asked), tuple(program for _, programs in asked for program in programs)


def ask_control(record: MeshRecord, *, settle_seconds: float) -> ControlFacts:
    """What the control plane says, once the proxies have what was stored before, or ``settle_seconds`` later."""
    from meshpass.cli.check_join import join_answers
    from meshpass.localmesh.meshcontrol import ask_each, wait_mesh

    # An API server that is down cannot be waited for. Whether the processes answer is asked next.
    with suppress(LocalMeshError):
        wait_mesh(record, timeout=settle_seconds)
    told = ask_each(record.processes, _ask_process)
    processes = tuple(
        one.answer or ProcessFacts(process=one.process, answer=None, error=str(one.error)) for one in told
    )
    came = [(one.process, one.answer) for one in processes if one.answer is not None]
    return ControlFacts(processes=processes, answer=join_answers(came) if came else None)


def find_stopped(record: MeshRecord) -> frozenset[str]:
    """The parts of the mesh that somebody has stopped; none where the supervisor does not answer."""
    from meshpass.localmesh.supervisorclient import read_parts

    try:
        return frozenset(part.name for part in read_parts(record) if part.stopped)
    except LocalMeshError:
        return frozenset()


def _ask_process(process: ProcessRecord) -> ProcessFacts:
    from meshpass.localmesh.control import read_check
    from meshpass.localmesh.processrecord import Role

    who = "the control plane" if process.role is Role.ALONE else process.name
    started = time.perf_counter()
    answer = read_check(process.socket, timeout=_SECONDS, who=who)
    latency = time.perf_counter() - started
    if answer["revision"] < answer["storeRevision"]:
        # Objects that came this moment are no trouble; those that it cannot get past are.
        time.sleep(_CATCHES_UP_WITHIN)
        answer = read_check(process.socket, timeout=_SECONDS, who=who)
    return ProcessFacts(process=process, answer=answer, latency_seconds=latency)


async def _ask_server(kubeconfig: Path, cluster: str) -> tuple[ServerFacts, tuple[Program, ...]]:
    from meshpass.kube.client import KubeClient
    from meshpass.kube.credentials import read_access

    address = "?"
    expires = None
    try:
        address = read_access(kubeconfig, cluster).cluster.server
        expires = await asyncio.to_thread(_expiry, address)
        async with (
            asyncio.timeout(_SECONDS),
            KubeClient.from_kubeconfig(kubeconfig, cluster, cluster=cluster) as client,
        ):
            await client.request_json("GET", "/version")
            started = time.perf_counter()
            version = await client.request_json("GET", "/version")
            latency = time.perf_counter() - started
            programs = await _programs(client)
    except (MeshpassError, TimeoutError) as error:
        words = str(error) or f"no answer within {_SECONDS:g} s"
        hint = error.hint or "" if isinstance(error, MeshpassError) else ""
        return ServerFacts(cluster=cluster, server=address, error=words, hint=hint, expires=expires), ()
    facts = ServerFacts(
        cluster=cluster,
        server=address,
        version=str(version.get("gitVersion", "?")),
        latency_seconds=latency,
        expires=expires,
    )
    return facts, programs


def _expiry(server: str) -> datetime | None:
    """When the certificate that the server shows expires, whoever signed it; None where none can be seen."""
    from cryptography import x509

    url = urlsplit(server)
    if url.scheme != "https" or not url.hostname:
        return None
    try:
        text = ssl.get_server_certificate((url.hostname, url.port or 443), timeout=_SECONDS)
        return x509.load_pem_x509_certificate(text.encode()).not_valid_after_utc
    except (OSError, ValueError):
        return None


async def _programs(client: Any) -> tuple[Program, ...]:
    import msgspec

    from meshpass.api.core import Pod
    from meshpass.api.kinds import kind_of_type
    from meshpass.localmesh.objects import APP_ADDRESSES_ANNOTATION

    found: list[tuple[Mapping[str, Any], str, str]] = []
    for pod in (await client.list_raw(kind_of_type(Pod))).items:
        text = (pod["metadata"].get("annotations") or {}).get(APP_ADDRESSES_ANNOTATION)
        if text is not None:
            try:
                addresses = msgspec.json.decode(text, type=dict[str, str])
            except msgspec.DecodeError:
                continue
            found.extend((pod["metadata"], port, address) for port, address in sorted(addresses.items()))
    listening = await asyncio.gather(*(_listens(address) for _, _, address in found))
    return tuple(
        Program(
            cluster=client.cluster,
            namespace=metadata["namespace"],
            name=metadata["name"],
            port=port,
            address=address,
            listens=listens,
        )
        for (metadata, port, address), listens in zip(found, listening, strict=True)
    )


async def _listens(address: str) -> bool:
    from meshpass.localmesh.listening import find_silent

    try:
        return not await find_silent({address: address}, seconds=_LISTENS_WITHIN)
    except ValueError:  # somebody wrote another address into the annotation
        return False
