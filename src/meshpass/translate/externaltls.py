"""``clientsideTls`` of an ExternalService → how proxies speak TLS to it (decision record 0015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meshpass.api.external import ClientsideTls, ClientTlsMode
from meshpass.api.objectset import ObjectKey
from meshpass.ir import UpstreamTls
from meshpass.translate.credential import Credential, authorities_name, certificate_name, credential_key
from meshpass.translate.filecredential import (
    NEVER_READ,
    AuthoritiesFile,
    CertificateFile,
    FileCredential,
    FilePart,
    FileProblem,
    is_absolute,
)
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.host import host_problem
from meshpass.translate.socketaddress import is_address

UNBELIEVED = (
    "there are no authorities to verify the server by; set caCertificates, or ca.crt in a Secret (credentialName)"
)
AUTOMATIC = ClientsideTls()
"""What a port that speaks TLS gets for requests that proxies send, where it says nothing."""


class TlsProblem(NamedTuple):
    """Why no TLS may be spoken as the object says."""

    path: str
    message: str
    missing: bool = False
    """True where it names something that is not there."""


class TlsSettings(NamedTuple):
    """What TLS of a port is made from."""

    path: str
    """Of ``clientsideTls``."""
    service: ObjectKey
    names: tuple[str, ...]
    """The hosts of the service."""
    subject_alt_names: tuple[str, ...]
    credentials: Mapping[str, Credential]
    files: Mapping[str, FileProblem | None]
    """By name of what is in files: why it cannot be used; None if it can."""
    system_authorities: str


def translate_tls(tls: ClientsideTls, given: TlsSettings) -> UpstreamTls | TlsProblem | None:
    """The TLS that proxies start; None where the object says that they start none.

    The server is always verified, unless the object says that it is not to be; a server that cannot be is a problem.
    """
    path = given.path
    if tls.mode is ClientTlsMode.DISABLE:
        return None
    if tls.mode is ClientTlsMode.ISTIO_MUTUAL:
        return TlsProblem(
            f"{path}.mode", "ISTIO_MUTUAL has no effect: a service outside does not know the mesh's own certificates"
        )
    problem = _text_problem(tls, path)
    if problem is not None:
        return problem
    credential = given.credentials.get(tls.credential_name) if tls.credential_name else Credential()
    if credential is None:
        return TlsProblem(
            f"{path}.credentialName",
            f"there is no Secret {tls.credential_name} beside the ExternalService",
            missing=True,
        )
    if credential.problem:
        return TlsProblem(f"{path}.credentialName", f"Secret {tls.credential_name} {credential.problem}")
    own = _own_certificate(tls, credential, given)
    if isinstance(own, TlsProblem):
        return own
    believed = _authorities(tls, credential, given)
    if isinstance(believed, TlsProblem):
        return believed
    only = given.names[0] if len(given.names) == 1 and "*" not in given.names[0] else ""
    # A server name is never an address (RFC 6066 §3); a certificate can be for one.
    sni = tls.sni or ("" if is_address(only) else only)
    names = given.subject_alt_names or ((only,) if only and not sni else ())
    verify = not tls.insecure_skip_verify
    if verify and not sni and not names:
        message = "is needed, or subjectAltNames: it does not follow which name the server has to prove"
        return TlsProblem(f"{path}.sni", message)
    return UpstreamTls(
        sni=sni,
        verify=verify,
        subject_alt_names=names if verify else (),
        **own,
        **(believed if verify else {}),
    )


def _text_problem(tls: ClientsideTls, path: str) -> TlsProblem | None:
    if tls.sni and ("*" in tls.sni or host_problem(tls.sni) is not None):
        return TlsProblem(f"{path}.sni", "is no host name")
    files = {
        "clientCertificate": tls.client_certificate,
        "privateKey": tls.private_key,
        "caCertificates": tls.ca_certificates,
    }
    for name, file in files.items():
        if file and not is_absolute(file):
            return TlsProblem(f"{path}.{name}", "is no absolute path")
    if bool(tls.client_certificate) != bool(tls.private_key):
        return TlsProblem(path, "clientCertificate and privateKey are needed together")
    return None


def _own_certificate(tls: ClientsideTls, credential: Credential, given: TlsSettings) -> dict[str, str] | TlsProblem:
    if tls.mode is not ClientTlsMode.MUTUAL:
        return {}
    if tls.client_certificate and credential.certificate:
        return TlsProblem(
            f"{given.path}.credentialName", "its Secret and clientCertificate both give a certificate; leave one out"
        )
    if tls.client_certificate:
        return _from_file("certificate", CertificateFile(tls.client_certificate, tls.private_key), given)
    if credential.certificate:
        return {"certificate": certificate_name(credential_key(given.service, tls.credential_name))}
    if tls.credential_name:
        return TlsProblem(f"{given.path}.credentialName", f"Secret {tls.credential_name} has no tls.crt and tls.key")
    return TlsProblem(f"{given.path}.mode", "MUTUAL needs credentialName, or clientCertificate and privateKey")


def _authorities(tls: ClientsideTls, credential: Credential, given: TlsSettings) -> dict[str, str] | TlsProblem:
    if tls.insecure_skip_verify:
        if tls.ca_certificates or given.subject_alt_names:
            what = "caCertificates" if tls.ca_certificates else "subjectAltNames"
            return TlsProblem(f"{given.path}.insecureSkipVerify", f"contradicts {what}")
        return {}
    if tls.ca_certificates and credential.authorities:
        return TlsProblem(
            f"{given.path}.credentialName", "its Secret and caCertificates both give authorities; leave one out"
        )
    if tls.ca_certificates:
        return _from_file("authorities", AuthoritiesFile(tls.ca_certificates), given)
    if credential.authorities:
        return {"authorities": authorities_name(credential_key(given.service, tls.credential_name))}
    if tls.credential_name and tls.mode is ClientTlsMode.SIMPLE:
        return TlsProblem(f"{given.path}.credentialName", f"Secret {tls.credential_name} has no ca.crt")
    if not given.system_authorities:
        return TlsProblem(given.path, UNBELIEVED)
    return {"authorities_file": given.system_authorities}


_FIELDS = {
    FilePart.CERTIFICATE: "clientCertificate",
    FilePart.PRIVATE_KEY: "privateKey",
    FilePart.AUTHORITIES: "caCertificates",
}


def _from_file(setting: str, file: FileCredential, given: TlsSettings) -> dict[str, str] | TlsProblem:
    problem = given.files.get(file.name, NEVER_READ)
    if problem is None:
        return {setting: file.name}
    return TlsProblem(f"{given.path}.{_FIELDS[problem.part]}", problem.message, missing=problem.missing)


def find_tls_notes(key: ObjectKey, tls: ClientsideTls, path: str) -> tuple[Finding, ...]:
    """What there is to know about TLS that is spoken as the object says."""
    found = []
    if tls.insecure_skip_verify and tls.mode is not ClientTlsMode.DISABLE:
        message = "the server is not verified: whoever answers is believed, and gets the requests with their tokens"
        found.append((Reason.UNSUPPORTED_VALUE, f"{path}.insecureSkipVerify", message))
    unused: tuple[tuple[str, object], ...] = (
        ("clientCertificate", tls.client_certificate),
        ("privateKey", tls.private_key),
    )
    if tls.mode is ClientTlsMode.DISABLE:
        others = (("sni", tls.sni), ("caCertificates", tls.ca_certificates), ("credentialName", tls.credential_name))
        unused = (*unused, *others)
    if tls.mode in {ClientTlsMode.DISABLE, ClientTlsMode.SIMPLE}:
        found += [
            (Reason.NO_EFFECT, f"{path}.{name}", f"has no effect with mode {tls.mode.value}")
            for name, value in unused
            if value
        ]
    return tuple(
        Finding(key=key, severity=Severity.WARNING, reason=reason, path=where, message=message)
        for reason, where, message in found
    )
