"""DestinationReference → the Service port that it means."""

from __future__ import annotations

from typing import NamedTuple

from meshpass.api.common import DestinationKind, DestinationReference
from meshpass.api.objectset import ObjectKey
from meshpass.translate.finding import NO_EFFECT_YET
from meshpass.translate.service import ServiceEntry, ServicePort, Services


class Destination(NamedTuple):
    """A Service port that requests are sent to."""

    service: ServiceEntry
    port: ServicePort

    @property
    def backend(self) -> str:
        """The name of its backend."""
        return self.port.backend(self.service.key)


class DestinationProblem(NamedTuple):
    """Why a reference means nothing that can be reached."""

    path: str
    message: str


def resolve_destination(
    reference: DestinationReference, referrer: ObjectKey, path: str, services: Services
) -> Destination | DestinationProblem:
    """The Service port that a reference of ``referrer`` means; missing parts are the referrer's own."""
    if reference.aws_lambda is not None:
        return DestinationProblem(f"{path}.awsLambda", NO_EFFECT_YET)
    if reference.kind is not DestinationKind.SERVICE:
        return DestinationProblem(f"{path}.kind", NO_EFFECT_YET)
    if reference.subset:
        return DestinationProblem(f"{path}.subset", NO_EFFECT_YET)
    if reference.ref is None or not reference.ref.name:
        return DestinationProblem(f"{path}.ref.name", "names no Service")
    key = ObjectKey(
        "Service",
        reference.ref.cluster or referrer.cluster,
        reference.ref.namespace or referrer.namespace,
        reference.ref.name,
    )
    service = services.get(key)
    if service is None:
        place = f"namespace {key.namespace} of cluster {key.cluster}"
        return DestinationProblem(f"{path}.ref", f"there is no Service {key.name} in {place}")
    return _resolve_port(reference, service, path)


def _resolve_port(
    reference: DestinationReference, service: ServiceEntry, path: str
) -> Destination | DestinationProblem:
    wanted = reference.port
    known = ", ".join(f"{port.number} ({port.name})" if port.name else str(port.number) for port in service.ports)
    if wanted is None or (wanted.number is None and wanted.name is None):
        if len(service.ports) == 1:
            return Destination(service, service.ports[0])
        return DestinationProblem(f"{path}.port", f"is needed: Service {service.key.name} has the ports {known}")
    for port in service.ports:
        if wanted.number == port.number or (wanted.name is not None and wanted.name == port.name):
            return Destination(service, port)
    named = wanted.number if wanted.number is not None else wanted.name
    return DestinationProblem(f"{path}.port", f"Service {service.key.name} has no port {named}; it has {known}")
