"""ExternalEndpoints by themselves: who selects them, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping

from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.objectset import ObjectKey
from meshpass.translate.externaladdress import AddressProblem, read_address
from meshpass.translate.finding import Finding, Reason, Severity, no_effect
from meshpass.translate.socketaddress import is_port


def judge_external_endpoint(key: ObjectKey, endpoint: ExternalEndpoint, *, selected: bool) -> tuple[Finding, ...]:
    """What there is to know about an ExternalEndpoint by itself."""
    findings = []
    address = read_address(endpoint.spec.address)
    if isinstance(address, AddressProblem):
        findings.append(
            Finding(
                key=key,
                severity=Severity.INVALID,
                reason=Reason.INVALID,
                path="spec.address",
                message=address.message,
            )
        )
    seen: set[str] = set()
    for index, port in enumerate(endpoint.spec.ports):
        path = f"spec.ports[{index}]"
        if not is_port(port.number):
            findings.append(_warn(key, f"{path}.number", "is needed"))
        if len(endpoint.spec.ports) > 1 and (not port.name or port.name in seen):
            findings.append(
                _warn(
                    key,
                    f"{path}.name",
                    "another port has this name" if port.name else "is needed where there are several",
                )
            )
        seen.add(port.name)
    if endpoint.spec.locality is not None:
        findings.append(no_effect(key, "spec.locality"))
    if not selected:
        message = "no ExternalService selects it"
        findings.append(Finding(key=key, severity=Severity.NOTE, reason=Reason.TARGET_NOT_FOUND, message=message))
    return tuple(findings)


def select_external_endpoints(
    service: ExternalService, endpoints: Mapping[ObjectKey, ExternalEndpoint]
) -> tuple[tuple[ObjectKey, ExternalEndpoint], ...]:
    """Those of the given ones (of the service's workspace and cluster) that its selector means, sorted."""
    wanted = service.spec.selector
    return tuple(
        (key, endpoint)
        for key, endpoint in endpoints.items()
        if wanted and wanted.items() <= endpoint.metadata.labels.items()
    )


def _warn(key: ObjectKey, path: str, message: str) -> Finding:
    return Finding(key=key, severity=Severity.WARNING, reason=Reason.INVALID, path=path, message=message)
