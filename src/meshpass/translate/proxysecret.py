"""The secrets of a proxy: who it is, whom it lets in, and what its backends and listeners name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from meshpass.api.core import Secret as KubernetesSecret
from meshpass.api.objectset import ObjectKey
from meshpass.ir import (
    CALLERS,
    WORKLOAD_IDENTITY,
    Backend,
    GatewayListener,
    InboundListener,
    Listener,
    MutualTlsMode,
    Secret,
    TlsCertificate,
    TrustedAuthorities,
)
from meshpass.memo import Memo
from meshpass.translate.backend import backend_secrets
from meshpass.translate.catalog import Catalog
from meshpass.translate.endpointindex import EndpointIndex
from meshpass.translate.filecredential import FileCredentials
from meshpass.translate.identity import WorkloadCertificate, spiffe_id
from meshpass.translate.knownhost import KnownHost
from meshpass.translate.peer import peer_authorities
from meshpass.translate.resolution import Resolution
from meshpass.translate.tableset import TableSet
from meshpass.translate.view import used_destinations


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewSecrets:
    """What the backends of a view name: one object for all of its proxies, however many secrets there are."""

    secrets: tuple[Secret, ...]


def find_secrets(known: tuple[KnownHost, ...], tables: TableSet, resolution: Resolution, memo: Memo) -> ViewSecrets:
    """What a view needs to send requests, but for the certificate of the proxy's own."""
    return memo(
        _find_secrets,
        known,
        tables,
        resolution.catalog,
        resolution.endpoints,
        resolution.secrets,
        resolution.files,
        resolution.identities.trust_domain,
        resolution.identities.authorities,
        memo,
    )


def _find_secrets(  # noqa: PLR0917
    known: tuple[KnownHost, ...],
    tables: TableSet,
    catalog: Catalog,
    endpoints: EndpointIndex,
    secrets: Mapping[ObjectKey, KubernetesSecret],
    files: FileCredentials,
    trust_domain: str,
    authorities: str,
    memo: Memo,
) -> ViewSecrets:
    destinations = used_destinations(known, tables, catalog)
    found = backend_secrets(destinations, catalog, secrets, files, memo)
    if endpoints.has_identities:
        found += peer_authorities(destinations, catalog, endpoints.accounts, trust_domain, authorities, memo)
    return memo(_make_view_secrets, found)


def _make_view_secrets(secrets: tuple[Secret, ...]) -> ViewSecrets:
    return ViewSecrets(secrets=secrets)


def workload_identity(pod: ObjectKey, resolution: Resolution) -> str:
    """The SPIFFE ID of a workload that has a proxy, or is one."""
    account = resolution.endpoints.pods[pod].spec.service_account_name
    return spiffe_id(resolution.identities.trust_domain, pod.namespace, account)


def own_secrets(pod: ObjectKey, resolution: Resolution, memo: Memo) -> tuple[Secret, ...]:
    """What a proxy proves its identity with, and by whom it may be called.

    Where its certificate is missing, whatever names it waits: no listener and no backend does without.
    """
    if not resolution.endpoints.has_identities:
        return ()
    identities = resolution.identities
    callers = memo(_make_callers, identities.trust_domain, identities.authorities)
    certificate = identities.certificates.get(workload_identity(pod, resolution))
    return (callers,) if certificate is None else (callers, memo(_make_own_certificate, certificate))


def _make_callers(trust_domain: str, authorities: str) -> TrustedAuthorities:
    return TrustedAuthorities(name=CALLERS, certificates=authorities, identities=(f"spiffe://{trust_domain}/",))


def callers_of(listeners: tuple[Listener, ...], authorities: str) -> tuple[TrustedAuthorities, ...]:
    """Who may connect where there is no HTTP, on ports that say so themselves."""
    return tuple(
        TrustedAuthorities(name=one.callers, certificates=authorities, identities=one.access.identities)
        for one in listeners
        if isinstance(one, InboundListener) and one.callers and one.access is not None
    )


def _make_own_certificate(certificate: WorkloadCertificate) -> TlsCertificate:
    return TlsCertificate(name=WORKLOAD_IDENTITY, chain=certificate.chain, private_key=certificate.private_key)


def choose_secrets(
    own: tuple[Secret, ...], shared: ViewSecrets, listeners: tuple[Listener, ...], backends: tuple[Backend, ...]
) -> tuple[Secret, ...]:
    """Those that are named, sorted by name: one that nothing names would never be asked for, and so never acknowledged."""
    by_name = {secret.name: secret for secret in (*own, *shared.secrets)}
    named = set(_named_secrets(listeners, backends)) if by_name else set()
    return tuple(by_name[name] for name in sorted(named & by_name.keys()))


def _named_secrets(listeners: tuple[Listener, ...], backends: tuple[Backend, ...]) -> Iterator[str]:
    chains = (chain for one in listeners if isinstance(one, GatewayListener) for chain in one.chains)
    for tls in (*(chain.tls for chain in chains), *(backend.tls for backend in backends)):
        if tls is not None:
            yield from (tls.certificate, tls.authorities)
    for backend in backends:
        if backend.peer is not None:
            yield from (WORKLOAD_IDENTITY, backend.peer.peers)
    for one in listeners:
        if isinstance(one, InboundListener) and one.mutual_tls is not MutualTlsMode.DISABLE:
            yield from (WORKLOAD_IDENTITY, one.callers or CALLERS)
