"""Secrets and files → the certificates that a gateway shows, and the authorities whose clients it lets in."""

from __future__ import annotations

from dataclasses import dataclass

from meshpass.api.core import Secret
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Secret as ProxySecret
from meshpass.ir import TlsCertificate, TrustedAuthorities
from meshpass.translate.credential import judge_secret, make_authorities, make_certificate
from meshpass.translate.filecredential import FilePart, FileProblem
from meshpass.translate.finding import Finding, Reason, Severity

REVOCATION_ENTRIES = ("ca.crl", "crl")
SECOND_SUFFIX = "-cacert"
"""What the name of a second Secret ends in, which holds the authorities alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCredentials:
    """What a listener has from Secrets, or from files."""

    certificate: TlsCertificate | None = None
    """None: there is none that can be used."""
    authorities: TrustedAuthorities | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def secrets(self) -> tuple[ProxySecret, ...]:
        """What a proxy is given."""
        return tuple(one for one in (self.certificate, self.authorities) if one is not None)


def second_key(key: ObjectKey) -> ObjectKey:
    """The second Secret in which the authorities may be."""
    return key._replace(name=f"{key.name}{SECOND_SUFFIX}")


def read_credentials(  # noqa: PLR0917
    owner: ObjectKey, path: str, key: ObjectKey, secret: Secret | None, second: Secret | None, mutual: bool
) -> GatewayCredentials:
    """What Secret ``key`` and its second one hold; where they hold nothing usable, a finding about ``path`` of ``owner``.

    In mode MUTUAL there is no certificate without authorities: without them every client would be let in.
    """
    place = f"namespace {key.namespace} of cluster {key.cluster}"
    if secret is None:
        return _closed(owner, path, Reason.TARGET_NOT_FOUND, f"there is no Secret {key.name} in {place}")
    certificate = make_certificate(key, secret)
    problem = judge_secret(secret).problem or ("" if certificate else "has no tls.crt with tls.key")
    authorities = None
    if mutual and not problem:
        authorities = make_authorities(key, secret)
        if authorities is None and second is not None:
            problem = judge_secret(second).problem
            authorities = make_authorities(second_key(key), second)
        if authorities is None and not problem:
            problem = f"has no ca.crt, nor has a Secret {second_key(key).name}, and mode MUTUAL needs it"
    if problem or certificate is None:
        return _closed(owner, path, Reason.INVALID_KEY, f"Secret {key.name} in {place} {problem}")
    revoking = [entry for one in (secret, second) if one for entry in REVOCATION_ENTRIES if entry in one.data]
    if mutual and revoking:
        message = f"no effect yet: {revoking[0]} of Secret {key.name}; clients with revoked certificates are let in"
        finding = Finding(key=owner, severity=Severity.WARNING, reason=Reason.NO_EFFECT, path=path, message=message)
        return GatewayCredentials(certificate=certificate, authorities=authorities, findings=(finding,))
    return GatewayCredentials(certificate=certificate, authorities=authorities)


_FIELDS = {
    FilePart.CERTIFICATE: "serverCert",
    FilePart.PRIVATE_KEY: "privateKey",
    FilePart.AUTHORITIES: "caCerts",
}


def read_files(
    owner: ObjectKey, path: str, certificate: ProxySecret | FileProblem, authorities: ProxySecret | FileProblem | None
) -> GatewayCredentials:
    """What files hold; where one holds nothing usable, a finding about its field below ``path`` of ``owner``.

    ``authorities`` is None where clients are not asked for a certificate.
    """
    for one in (certificate, authorities):
        if isinstance(one, FileProblem):
            reason = Reason.TARGET_NOT_FOUND if one.missing else Reason.INVALID_KEY
            return _closed(owner, f"{path}.{_FIELDS[one.part]}", reason, one.message)
    assert isinstance(certificate, TlsCertificate)
    assert authorities is None or isinstance(authorities, TrustedAuthorities)
    return GatewayCredentials(certificate=certificate, authorities=authorities)


def _closed(owner: ObjectKey, path: str, reason: Reason, message: str) -> GatewayCredentials:
    message = f"{message}; the listener stays closed"
    finding = Finding(key=owner, severity=Severity.INVALID, reason=reason, path=path, message=message)
    return GatewayCredentials(findings=(finding,))
