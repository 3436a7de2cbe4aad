"""East-west gateways: by which of them the workspaces of one cluster are reached from others (behaviour §6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from meshpass.api.admin import EastWestGateway
from meshpass.api.common import PortSelector
from meshpass.api.core import Service
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Endpoint
from meshpass.memo import Memo
from meshpass.translate.eastwestaddress import find_addresses, judge_overrides
from meshpass.translate.eastwestdoor import LABELS, Door, TakenPorts, find_doors, is_selected
from meshpass.translate.endpointplace import Places
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.gatewayworkload import GatewayWorkload
from meshpass.translate.workspace import WorkspaceIndex

PASSTHROUGH, TERMINATION = PortSelector(name="tls"), PortSelector(name="https")
"""The ports that are meant where settings name none."""
ANY_PORT = PortSelector()
BY_DEFAULT = (EastWestGateway(),)


class EastWestPort(NamedTuple):
    """A port of a gateway's pod, on which connections from other clusters come."""

    port: int
    workspaces: tuple[str, ...]
    """Those whose destinations are reached by it; sorted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EastWest:
    """All east-west gateways. The same object as long as nothing of it changed."""

    addresses: Mapping[tuple[str, str], tuple[Endpoint, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """(workspace, cluster) → where other clusters reach what the workspace has there; without any address where there are
    gateways that cannot be reached. Clusters without gateways are left out: their pods are reached as they are."""
    ports: Mapping[ObjectKey, tuple[EastWestPort, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Gateway pod → what it listens on for that."""


NO_EAST_WEST = EastWest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundEastWest:
    """The east-west gateways, and what there is to say of them."""

    east_west: EastWest
    counts: Mapping[str, int]
    """Workspace → number of Services that it selects."""
    findings: Mapping[str, tuple[Finding, ...]]
    """Workspace → what there is to say, about its WorkspaceSettings."""


def find_east_west(  # noqa: PLR0917
    workloads: tuple[GatewayWorkload, ...],
    services: Mapping[ObjectKey, Service],
    places: Places,
    workspaces: WorkspaceIndex,
    taken: TakenPorts,
    memo: Memo,
) -> FoundEastWest:
    """The gateways that each workspace selects among those that it may use; to be called through the memo.

    A port that a VirtualGateway has opened stays with it.
    """
    addresses: dict[tuple[str, str], set[Endpoint]] = {}
    ports: dict[ObjectKey, dict[int, set[str]]] = {}
    counts: dict[str, int] = {}
    findings: dict[str, tuple[Finding, ...]] = {}
    doors = find_doors(workloads, services, places, taken)
    for workspace, settings in workspaces.settings.of_workspace.items():
        selectors = settings.options.east_west_gateways
        selected: set[ObjectKey] = set()
        said: list[tuple[Severity, Reason, str, str]] = []
        for index, selector in enumerate(selectors or BY_DEFAULT):
            path = f"spec.options.eastWestGateways[{index}]"
            chosen = [one for one in doors if is_selected(selector, one, workspace, workspaces)]
            selected.update(one.key for one in chosen)
            said.extend(_judge(selector, chosen, path, workspace) if selectors else ())
            for one in chosen:
                opened = one.open(_passthrough(selector))
                if opened:
                    reached = addresses.setdefault((workspace, one.key.cluster), set())
                    reached.update(find_addresses(selector, one.service, opened))
                for port in opened:
                    ports.setdefault(port.pod, {}).setdefault(port.entrance.target, set()).add(workspace)
        counts[workspace] = len(selected)
        key = settings.key or workspaces.settings.global_key
        findings[workspace] = tuple(
            Finding(key=key, severity=severity, reason=reason, path=path, message=message)
            for severity, reason, path, message in said
            if key is not None
        )
    return FoundEastWest(
        east_west=memo(
            _freeze,
            tuple((place, tuple(sorted(found))) for place, found in sorted(addresses.items())),
            tuple(
                (pod, tuple(EastWestPort(port, tuple(sorted(users))) for port, users in sorted(opened.items())))
                for pod, opened in sorted(ports.items())
            ),
        ),
        counts=counts,
        findings=findings,
    )


def _freeze(
    addresses: tuple[tuple[tuple[str, str], tuple[Endpoint, ...]], ...],
    ports: tuple[tuple[ObjectKey, tuple[EastWestPort, ...]], ...],
) -> EastWest:
    return EastWest(addresses=dict(addresses), ports=dict(ports))


def _judge(
    selector: EastWestGateway, chosen: list[Door], path: str, workspace: str
) -> Iterator[tuple[Severity, Reason, str, str]]:
    """What there is to say of one selector. A gateway has to have one of both ports."""
    if not chosen:
        label = "=".join(*LABELS.items())
        message = f"selects neither a gateway with the label {label} nor one that workspace {workspace} has or imports"
        yield Severity.WARNING, Reason.TARGET_NOT_FOUND, path, message
    for one in chosen:
        name = f"gateway {one.key.namespace}/{one.key.name} of cluster {one.key.cluster}"
        wanted = _passthrough(selector)
        found = one.named(wanted)
        if not found and not one.named(selector.tls_termination_port or TERMINATION):
            number = wanted.name if wanted.number is None else wanted.number
            message = f"{name} has no port {number}, and none that would end TLS"
            yield Severity.INVALID, Reason.TARGET_NOT_FOUND, f"{path}.port", message
        elif not found:
            message = f"{name} has a port that would end TLS only: gateways pass TLS on, by a port named tls"
            yield Severity.WARNING, Reason.NO_EFFECT, f"{path}.tlsTerminationPort", message
        elif len(one.open(wanted)) < len(found):
            message = (
                f"a VirtualGateway has port {found[0].entrance.number} of {name}, so that it is no east-west gateway"
            )
            yield Severity.WARNING, Reason.CONFLICTED, f"{path}.port", message
        elif not selector.host_info_overrides and not any(
            ingress.ip or ingress.hostname for ingress in one.service.status.load_balancer.ingress
        ):
            message = f"{name} has no address of a load balancer yet; hostInfoOverrides would say where it is"
            yield Severity.WARNING, Reason.PENDING, path, message
    yield from judge_overrides(selector, path, len(chosen), len({one.key.cluster for one in chosen}))


def _passthrough(selector: EastWestGateway) -> PortSelector:
    return PASSTHROUGH if selector.port in {None, ANY_PORT} else selector.port
