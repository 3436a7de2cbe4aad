"""Which sidecars and gateways a route table is for (behaviour §5.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from meshpass.api.common import ObjectSelector, WorkloadKind, WorkloadSelector
from meshpass.api.objectset import ObjectKey
from meshpass.api.routetable import RouteTable
from meshpass.translate.finding import Finding, Reason, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Which sidecars and gateways of its workspace a table is for."""

    label_sets: tuple[Mapping[str, str], ...]
    """Any of these must be among a workload's labels; an empty one selects every workload."""
    gateways: tuple[ObjectKey, ...]
    """The VirtualGateways that the table asks for, whether they exist or not."""
    findings: tuple[Finding, ...]

    def selects(self, labels: Mapping[str, str]) -> bool:
        """True when requests of a workload with these labels go by the table."""
        return any(all(labels.get(name) == value for name, value in wanted.items()) for wanted in self.label_sets)


def translate_binding(key: ObjectKey, table: RouteTable) -> Binding:
    """The sidecars that a table asks for. A selector that is wrong selects none, with a finding."""
    gateways = tuple(
        ObjectKey("VirtualGateway", one.cluster or key.cluster, one.namespace or key.namespace, one.name)
        for one in table.spec.virtual_gateways
    )
    selectors = table.spec.workload_selectors
    if not selectors:
        # With gateways and no selector, a table is for the gateways alone.
        return Binding(label_sets=() if gateways else ({},), gateways=gateways, findings=())
    label_sets = []
    findings: list[Finding] = []
    for index, selector in enumerate(selectors):
        problems = list(_problems(key, selector, f"spec.workloadSelectors[{index}]"))
        findings.extend(problems)
        if not problems:
            label_sets.append((selector.selector or ObjectSelector()).labels)
    return Binding(label_sets=tuple(label_sets), gateways=gateways, findings=tuple(findings))


def _problems(key: ObjectKey, selector: WorkloadSelector, path: str) -> Iterator[Finding]:
    inner = selector.selector or ObjectSelector()
    wrong = {
        f"{path}.kind": selector.kind is not WorkloadKind.KUBE and "only KUBE is possible",
        f"{path}.port": selector.port is not None and "workloads are not selected by port",
    }
    for field in ("name", "namespace", "cluster", "workspace"):
        wrong[f"{path}.selector.{field}"] = bool(getattr(inner, field)) and "workloads are selected by labels only"
    for place, message in wrong.items():
        if message:
            yield Finding(key=key, severity=Severity.INVALID, reason=Reason.INVALID, path=place, message=message)
