"""All ExternalServices, with the ExternalEndpoints that each selects."""

from __future__ import annotations

from collections.abc import Mapping

from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.objectset import ObjectKey
from meshpass.memo import Memo
from meshpass.translate.credential import Credentials, credentials_of
from meshpass.translate.external import Endpoints, translate_external_service
from meshpass.translate.externalendpoint import select_external_endpoints
from meshpass.translate.externalentry import ExternalEntry
from meshpass.translate.filecredential import NEVER_READ, files_of_service
from meshpass.translate.workspace import WorkspaceIndex

ChosenEndpoints = Mapping[ObjectKey, Endpoints]
"""ExternalService → the ExternalEndpoints that it selects."""


def choose_endpoints(
    services: Mapping[ObjectKey, ExternalService],
    endpoints: Mapping[ObjectKey, ExternalEndpoint],
    workspaces: WorkspaceIndex,
    problems: Mapping[ObjectKey, tuple[str, ...]],
) -> ChosenEndpoints:
    """Those of the service's own workspace and cluster."""
    places: dict[tuple[str | None, str], dict[ObjectKey, ExternalEndpoint]] = {}
    for key in sorted(endpoints):
        places.setdefault((workspaces.owner(key), key.cluster), {})[key] = endpoints[key]
    return {
        key: tuple(
            (found, None if found in problems else endpoint)
            for found, endpoint in select_external_endpoints(
                service, places.get((workspaces.owner(key), key.cluster), {})
            )
        )
        for key, service in services.items()
    }


def translate_external_services(  # noqa: PLR0917
    services: Mapping[ObjectKey, ExternalService],
    chosen: ChosenEndpoints,
    workspaces: WorkspaceIndex,
    system_authorities: str,
    credentials: Credentials,
    problems: Mapping[ObjectKey, tuple[str, ...]],
    memo: Memo,
) -> Mapping[ObjectKey, ExternalEntry]:
    """Those that some workspace reads, sorted; one that did not change keeps its identity."""
    return {
        key: memo(
            translate_external_service,
            key,
            services[key],
            owner,
            chosen[key],
            credentials_of(key, services[key], credentials),
            tuple((one.name, credentials.files.get(one.name, NEVER_READ)) for one in files_of_service(services[key])),
            system_authorities,
            problems.get(key, ()),
        )
        for key in sorted(services)
        if (owner := workspaces.owner(key)) is not None
    }
