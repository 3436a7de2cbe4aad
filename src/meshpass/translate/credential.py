"""Credential: what the Secret, or the files, that an ExternalService names have to offer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshpass.api.core import Secret
from meshpass.api.external import ExternalService
from meshpass.api.objectset import ObjectKey
from meshpass.ir import TlsCertificate, TrustedAuthorities
from meshpass.memo import Memo
from meshpass.translate.filecredential import FileCredentials, FileProblem
from meshpass.translate.pem import authorities_problem, certificate_problem, private_key_problem

CERTIFICATE_ENTRIES = ("tls.crt", "cert")
PRIVATE_KEY_ENTRIES = ("tls.key", "key")
AUTHORITY_ENTRIES = ("ca.crt", "cacert")
"""Entries of a Secret of type kubernetes.io/tls, then those of Istio's generic ones."""

AUTHORITIES_SUFFIX = "#ca"


class Credential(NamedTuple):
    """What a Secret has to offer, without its contents. A tuple of text: equal ones are the same memo key."""

    certificate: bool = False
    """True: a certificate with its key."""
    authorities: bool = False
    """True: certificates of authorities."""
    problem: str = ""
    """Why it cannot be used; empty if it can."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Credentials:
    """The Secrets and files that objects name. The same object as long as they offer the same, whatever the contents."""

    found: Mapping[ObjectKey, Credential]
    """Of Secrets, those that ExternalServices name."""
    files: Mapping[str, FileProblem | None]
    """By name of what is in files: why it cannot be used; None if it can."""


class CredentialText(NamedTuple):
    """The PEM texts of a Secret; empty where it has none."""

    certificate: str
    private_key: str
    authorities: str


def credential_key(service: ObjectKey, name: str) -> ObjectKey:
    """The Secret that an ExternalService means: it is beside it."""
    return ObjectKey("Secret", service.cluster, service.namespace, name)


def certificate_name(key: ObjectKey) -> str:
    """The name under which proxies get the certificate of a Secret."""
    return f"{key.cluster}/{key.namespace}/{key.name}"


def authorities_name(key: ObjectKey) -> str:
    """The name under which proxies get the authorities of a Secret."""
    return f"{certificate_name(key)}{AUTHORITIES_SUFFIX}"


def named_secret(name: str) -> ObjectKey:
    """The Secret that one of these names was made from."""
    return ObjectKey("Secret", *name.removesuffix(AUTHORITIES_SUFFIX).split("/"))


def index_credentials(
    secrets: Mapping[ObjectKey, Secret],
    external_services: Mapping[ObjectKey, ExternalService],
    files: FileCredentials,
    memo: Memo,
) -> Credentials:
    """What each Secret that some ``clientsideTls.credentialName`` names has to offer; to be called through the memo."""
    wanted = sorted(
        {
            credential_key(key, port.clientside_tls.credential_name)
            for key, service in external_services.items()
            for port in service.spec.ports
            if port.clientside_tls is not None and port.clientside_tls.credential_name
        }
    )
    return memo(
        _make_credentials,
        tuple((key, memo(judge_secret, secrets[key])) for key in wanted if key in secrets),
        tuple((name, one if isinstance(one, FileProblem) else None) for name, one in files.found.items()),
    )


def _make_credentials(
    found: tuple[tuple[ObjectKey, Credential], ...], files: tuple[tuple[str, FileProblem | None], ...]
) -> Credentials:
    return Credentials(found=dict(found), files=dict(files))


def credentials_of(
    key: ObjectKey, service: ExternalService, credentials: Credentials
) -> tuple[tuple[str, Credential], ...]:
    """Name of a Secret → what it has to offer, for those that the service names and that are there; sorted."""
    names = {port.clientside_tls.credential_name for port in service.spec.ports if port.clientside_tls is not None}
    secrets = {name: credential_key(key, name) for name in sorted(names) if name}
    return tuple((name, credentials.found[secret]) for name, secret in secrets.items() if secret in credentials.found)


def judge_secret(secret: Secret) -> Credential:
    """What the Secret has to offer. A part of it that is wrong makes all of it unusable."""
    text = read_secret(secret)
    if isinstance(text, str):
        return Credential(problem=text)
    if bool(text.certificate) != bool(text.private_key):
        return Credential(problem="has a certificate without its key, or a key without its certificate")
    if not text.certificate and not text.authorities:
        return Credential(problem="has neither tls.crt with tls.key nor ca.crt")
    problem = ""
    if text.certificate:
        problem = certificate_problem(text.certificate) or private_key_problem(text.certificate, text.private_key)
    if not problem and text.authorities:
        problem = authorities_problem(text.authorities)
    if problem:
        return Credential(problem=problem)
    return Credential(certificate=bool(text.certificate), authorities=bool(text.authorities))


def read_secret(secret: Secret) -> CredentialText | str:
    """The texts of a Secret, or what is wrong with it."""
    try:
        return CredentialText(
            _entry(secret, CERTIFICATE_ENTRIES),
            _entry(secret, PRIVATE_KEY_ENTRIES),
            _entry(secret, AUTHORITY_ENTRIES),
        )
    except (binascii.Error, UnicodeDecodeError):
        return "has an entry that is no text"


def _entry(secret: Secret, names: Iterable[str]) -> str:
    found = next((secret.data[name] for name in names if name in secret.data), "")
    return base64.b64decode(found, validate=True).decode()


def make_certificate(key: ObjectKey, secret: Secret) -> TlsCertificate | None:
    """The certificate of a Secret, for proxies; None if it has none."""
    text = read_secret(secret)
    if isinstance(text, str) or not text.certificate:
        return None
    return TlsCertificate(name=certificate_name(key), chain=text.certificate, private_key=text.private_key)


def make_authorities(key: ObjectKey, secret: Secret) -> TrustedAuthorities | None:
    """The authorities of a Secret, for proxies; None if it has none."""
    text = read_secret(secret)
    if isinstance(text, str) or not text.authorities:
        return None
    return TrustedAuthorities(name=authorities_name(key), certificates=text.authorities)
