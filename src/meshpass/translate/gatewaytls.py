"""TLS that a gateway ends: what a listener says of it."""

from __future__ import annotations

from collections.abc import Iterator

from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualgateway import GatewayTlsMode, ListenerTls, TlsParameters, TlsVersion
from meshpass.ir import DownstreamTls
from meshpass.ir import TlsVersion as Version
from meshpass.translate.finding import Finding, Reason, Severity, no_effect

TERMINATING = frozenset({GatewayTlsMode.SIMPLE, GatewayTlsMode.MUTUAL})
"""The modes in which the gateway itself ends TLS."""

CIPHER_SUITES = frozenset(
    {
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-SHA",
        "AES256-SHA",
        "DES-CBC3-SHA",
    }
)
"""The names that the API has; Envoy's library, BoringSSL, knows them all by the same ones."""

_VERSIONS = {
    TlsVersion.TLS_V1_0: Version.TLS_1_0,
    TlsVersion.TLS_V1_1: Version.TLS_1_1,
    TlsVersion.TLS_V1_2: Version.TLS_1_2,
    TlsVersion.TLS_V1_3: Version.TLS_1_3,
}


def judge_tls(key: ObjectKey, tls: ListenerTls, path: str) -> Iterator[Finding]:
    """What is wrong with the TLS settings of a listener; what is INVALID keeps it closed."""
    match tls.mode:
        case GatewayTlsMode.AUTO_PASSTHROUGH | GatewayTlsMode.ISTIO_MUTUAL:
            yield no_effect(key, f"{path}.mode")
        case GatewayTlsMode.PASSTHROUGH:
            for name in ("secret_name", "files", "verify_subject_alt_name", "parameters"):
                if getattr(tls, name):
                    yield no_effect(key, f"{path}.{_WIRE[name]}", Severity.NOTE)
        case GatewayTlsMode.SIMPLE | GatewayTlsMode.MUTUAL:
            yield from _judge_certificates(key, tls, path)
            yield from _judge_parameters(key, tls.parameters or TlsParameters(), f"{path}.parameters")


_WIRE = {
    "secret_name": "secretName",
    "files": "files",
    "verify_subject_alt_name": "verifySubjectAltName",
    "parameters": "parameters",
}


def _judge_certificates(key: ObjectKey, tls: ListenerTls, path: str) -> Iterator[Finding]:
    mutual = tls.mode is GatewayTlsMode.MUTUAL
    if not tls.secret_name and tls.files is None:
        yield _invalid(key, path, f"mode {tls.mode} needs secretName or files")
    if tls.files is not None:
        needed = {"serverCert": tls.files.server_cert, "privateKey": tls.files.private_key}
        if mutual:
            needed["caCerts"] = tls.files.ca_certs
        elif tls.files.ca_certs:
            yield no_effect(key, f"{path}.files.caCerts")
        for name, value in needed.items():
            if not value:
                yield _invalid(key, f"{path}.files.{name}", f"is needed in mode {tls.mode}")
            elif not value.startswith("/"):
                yield _invalid(key, f"{path}.files.{name}", "is no absolute path")
    if tls.verify_subject_alt_name and not mutual:
        yield _invalid(key, f"{path}.verifySubjectAltName", "clients are asked for a certificate in mode MUTUAL only")
    if not all(tls.verify_subject_alt_name):
        yield _invalid(key, f"{path}.verifySubjectAltName", "has an empty name")


def _judge_parameters(key: ObjectKey, parameters: TlsParameters, path: str) -> Iterator[Finding]:
    low, high = _range(parameters)
    if low > high:
        yield _invalid(key, f"{path}.minimumProtocolVersion", f"is above the maximum, {high}")
    if low < Version.TLS_1_2 and not parameters.cipher_suites:
        yield _invalid(key, f"{path}.cipherSuites", f"is needed for TLS {low}: the default ones are of TLS 1.2")
    for index, name in enumerate(parameters.cipher_suites):
        if name not in CIPHER_SUITES:
            message = f"{name!r} is no cipher suite of this API; it is left out"
            place = f"{path}.cipherSuites[{index}]"
            yield Finding(
                key=key, severity=Severity.WARNING, reason=Reason.UNSUPPORTED_VALUE, path=place, message=message
            )
    if parameters.cipher_suites and not CIPHER_SUITES.intersection(parameters.cipher_suites) and low < Version.TLS_1_3:
        yield _invalid(key, f"{path}.cipherSuites", "none of them can be used")


def _invalid(key: ObjectKey, path: str, message: str) -> Finding:
    return Finding(key=key, severity=Severity.INVALID, reason=Reason.INVALID, path=path, message=message)


def _range(parameters: TlsParameters) -> tuple[Version, Version]:
    low = _VERSIONS.get(parameters.minimum_protocol_version, Version.TLS_1_2)
    high = parameters.maximum_protocol_version
    return low, _VERSIONS.get(high, Version.TLS_1_3) if high is not None else Version.TLS_1_3


def make_downstream_tls(tls: ListenerTls, certificate: str, authorities: str) -> DownstreamTls:
    """The TLS of a listener; ``certificate`` and ``authorities`` name what it has from a Secret or from files.

    It names what it needs and holds none of it, so a certificate that is renewed changes no listener.
    """
    parameters = tls.parameters or TlsParameters()
    mutual = tls.mode is GatewayTlsMode.MUTUAL
    low, high = _range(parameters)
    suites = tuple(dict.fromkeys(name for name in parameters.cipher_suites if name in CIPHER_SUITES))
    return DownstreamTls(
        certificate=certificate,
        authorities=authorities if mutual else "",
        subject_alt_names=tls.verify_subject_alt_name if mutual else (),
        minimum_version=low,
        maximum_version=high,
        cipher_suites=suites if low < Version.TLS_1_3 else (),
    )
