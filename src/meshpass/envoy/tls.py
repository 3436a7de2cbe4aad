"""DownstreamTls, UpstreamTls, PeerTls, Secret → Envoy's TLS transport sockets and secrets."""

from __future__ import annotations

from ipaddress import ip_address
from types import MappingProxyType
from typing import assert_never

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsParameters,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret as SecretMessage
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
    UpstreamTlsContext,
)
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue

from meshpass.envoy.config_source import ads_config_source
from meshpass.envoy.resource import build_resource, pack
from meshpass.envoy.snapshot import Resource
from meshpass.ir import (
    WORKLOAD_IDENTITY,
    DownstreamTls,
    PeerTls,
    Secret,
    TlsCertificate,
    TlsVersion,
    TrustedAuthorities,
    UpstreamTls,
)

HTTP2 = "h2"
HTTP1 = "http/1.1"

NO_CERTIFICATE = "0" * 64
"""A hash (SHA-256) that no certificate has."""

_VERSIONS = MappingProxyType(
    {
        TlsVersion.TLS_1_0: TlsParameters.TLSv1_0,
        TlsVersion.TLS_1_1: TlsParameters.TLSv1_1,
        TlsVersion.TLS_1_2: TlsParameters.TLSv1_2,
        TlsVersion.TLS_1_3: TlsParameters.TLSv1_3,
    }
)


def build_secret(secret: Secret) -> Resource:
    """The resource of a secret, by SDS: a new certificate is taken up by new connections, and ends none."""
    message = SecretMessage(name=secret.name)
    match secret:
        case TlsCertificate():
            message.tls_certificate.certificate_chain.inline_string = secret.chain
            message.tls_certificate.private_key.inline_string = secret.private_key
        case TrustedAuthorities():
            _set_trusted(message.validation_context, secret)
        case _:  # pragma: no cover
            assert_never(secret)
    return build_resource(secret.name, message)


def _set_trusted(validation: CertificateValidationContext, secret: TrustedAuthorities) -> None:
    if not secret.certificates or secret.identities == ():
        # Without authorities, or without names, Envoy would believe anybody.
        validation.verify_certificate_hash.append(NO_CERTIFICATE)
    if secret.certificates:
        validation.trusted_ca.inline_string = secret.certificates
        validation.match_typed_subject_alt_names.extend(map(_build_identity, secret.identities or ()))


def _build_identity(identity: str) -> SubjectAltNameMatcher:
    """A SPIFFE ID is a URI (SPIFFE X.509-SVID §2)."""
    matcher = StringMatcher(prefix=identity) if identity.endswith("/") else StringMatcher(exact=identity)
    return SubjectAltNameMatcher(san_type=SubjectAltNameMatcher.URI, matcher=matcher)


def build_downstream_socket(tls: DownstreamTls, *protocols: str) -> TransportSocket:
    """TLS that ends at a filter chain; ``protocols`` are offered in this order (ALPN, RFC 7301)."""
    common = CommonTlsContext(
        tls_params=TlsParameters(
            tls_minimum_protocol_version=_VERSIONS[tls.minimum_version],
            tls_maximum_protocol_version=_VERSIONS[tls.maximum_version],
            cipher_suites=tls.cipher_suites,
        ),
        alpn_protocols=protocols,
    )
    common.tls_certificate_sds_secret_configs.append(_secret(tls.certificate))
    if tls.authorities:
        _set_validation(common, tls.authorities, tls.subject_alt_names)
    asked = BoolValue(value=bool(tls.authorities))
    return _build_socket(DownstreamTlsContext(common_tls_context=common, require_client_certificate=asked))


def build_upstream_socket(tls: UpstreamTls, *protocols: str) -> TransportSocket:
    """TLS that begins here. A server that is to be verified, but by no authorities, is never believed."""
    common = CommonTlsContext(alpn_protocols=protocols)
    if tls.certificate:
        common.tls_certificate_sds_secret_configs.append(_secret(tls.certificate))
    if tls.verify:
        names = tls.subject_alt_names or tuple(filter(None, (tls.sni,)))
        _set_validation(common, tls.authorities, names, file=tls.authorities_file)
    return _build_socket(UpstreamTlsContext(common_tls_context=common, sni=tls.sni))


def build_caller_socket(callers: str, *protocols: str) -> TransportSocket:
    """Mutual TLS that ends here: callers show their identity, and the proxy its own."""
    common = _build_mutual(callers, protocols)
    return _build_socket(
        DownstreamTlsContext(common_tls_context=common, require_client_certificate=BoolValue(value=True))
    )


def build_peer_socket(peer: PeerTls, *protocols: str) -> TransportSocket:
    """Mutual TLS that begins here. Who may answer comes with the secret, so it changes without a new cluster."""
    return _build_socket(UpstreamTlsContext(common_tls_context=_build_mutual(peer.peers, protocols), sni=peer.sni))


def _build_mutual(trusted: str, protocols: tuple[str, ...]) -> CommonTlsContext:
    # Both ends are proxies of the mesh, so nothing older is needed.
    common = CommonTlsContext(
        tls_params=TlsParameters(
            tls_minimum_protocol_version=TlsParameters.TLSv1_3, tls_maximum_protocol_version=TlsParameters.TLSv1_3
        ),
        alpn_protocols=protocols,
    )
    common.tls_certificate_sds_secret_configs.append(_secret(WORKLOAD_IDENTITY))
    common.validation_context_sds_secret_config.CopyFrom(_secret(trusted))
    return common


def _build_socket(context: Message) -> TransportSocket:
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def _set_validation(common: CommonTlsContext, name: str, names: tuple[str, ...], *, file: str = "") -> None:
    validation = CertificateValidationContext(
        match_typed_subject_alt_names=[matcher for one in names for matcher in _build_names(one)]
    )
    if name:
        common.combined_validation_context.default_validation_context.CopyFrom(validation)
        common.combined_validation_context.validation_context_sds_secret_config.CopyFrom(_secret(name))
        return
    if file:
        validation.trusted_ca.filename = file
    else:
        del validation.match_typed_subject_alt_names[:]
        validation.verify_certificate_hash.append(NO_CERTIFICATE)
    common.validation_context.CopyFrom(validation)


def _build_names(name: str) -> tuple[SubjectAltNameMatcher, ...]:
    """A name as each kind of subject alternative name that it can be (RFC 5280 §4.2.1.6); any one has to match."""
    try:
        ip_address(name)
    except ValueError:
        kinds: tuple[SubjectAltNameMatcher.SanType, ...] = (SubjectAltNameMatcher.DNS, SubjectAltNameMatcher.URI)
    else:
        kinds = (SubjectAltNameMatcher.IP_ADDRESS,)
    return tuple(SubjectAltNameMatcher(san_type=kind, matcher=StringMatcher(exact=name)) for kind in kinds)


def _secret(name: str) -> SdsSecretConfig:
    return SdsSecretConfig(name=name, sds_config=ads_config_source())
