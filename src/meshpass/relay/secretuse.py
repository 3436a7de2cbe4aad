"""Which Secrets objects refer to: a Secret leaves its cluster only where one does. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from meshpass.api.core import Secret
from meshpass.api.external import ExternalService
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.security import JWTPolicy
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.memo import Memo
from meshpass.relay.visibility import Scope
from meshpass.translate.credential import credential_key
from meshpass.translate.gatewaycertificate import SECOND_SUFFIX
from meshpass.translate.rootsecret import root_secret
from meshpass.translate.workspace import WorkspaceIndex

References = Mapping[ObjectKey, tuple[ObjectKey, ...]]
"""Object → the Secrets that it names, whether there are such or not."""


def find_references(objects: ObjectSet, memo: Memo) -> tuple[References, ...]:
    """What policies and ExternalServices refer to, by kind; the same mapping as long as no object of the kind changes."""
    return (
        memo.each(_of_policy, objects.all(JWTPolicy)),
        memo.each(_of_external_service, objects.all(ExternalService)),
    )


def used_secrets(
    references: tuple[References, ...], index: WorkspaceIndex, scope: Scope | None, management_cluster: str
) -> frozenset[ObjectKey]:
    """The Secrets that an object of their own workspace refers to, one that the scope has; None: any object.

    Whoever names a Secret of another workspace is told that it may not, and does not get it either. That of the mesh's
    root is for nobody.
    """
    found = frozenset(
        secret
        for of_kind in references
        for key, secrets in of_kind.items()
        if secrets and (scope is None or scope.sees(key))
        for secret in secrets
        if index.owner(secret) == index.owner(key) is not None
    )
    return found - {root_secret(management_cluster)}


def gateway_secrets(
    gateways: Mapping[ObjectKey, VirtualGateway], secrets: Mapping[ObjectKey, Secret], index: WorkspaceIndex
) -> frozenset[ObjectKey]:
    """The Secrets that gateways of their workspace may have their certificates from, in whatever namespace a gateway runs."""
    names = {
        (index.owner(key), name)
        for key, gateway in gateways.items()
        for listener in gateway.spec.listeners
        if listener.tls is not None and listener.tls.secret_name
        for name in (listener.tls.secret_name, f"{listener.tls.secret_name}{SECOND_SUFFIX}")
    }
    return frozenset(key for key in secrets if (index.place_owner(key), key.name) in names)


def _of_policy(key: ObjectKey, policy: JWTPolicy) -> tuple[ObjectKey, ...]:
    found = []
    for provider in policy.spec.config.providers.values():
        reference = provider.local.secret_ref.object_ref if provider.local and provider.local.secret_ref else None
        if reference is not None and reference.name:
            place = (reference.cluster or key.cluster, reference.namespace or key.namespace)
            found.append(ObjectKey("Secret", *place, reference.name))
    return tuple(found)


def _of_external_service(key: ObjectKey, service: ExternalService) -> tuple[ObjectKey, ...]:
    names = (port.clientside_tls.credential_name for port in service.spec.ports if port.clientside_tls is not None)
    return tuple(credential_key(key, name) for name in names if name)
