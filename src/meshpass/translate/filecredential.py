"""FileCredential: certificates, keys and authorities that objects name as files, judged as those of Secrets are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote

from meshpass.api.external import ClientsideTls, ClientTlsMode, ExternalService
from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualgateway import GatewayTlsMode, ListenerTls, VirtualGateway
from meshpass.ir import Secret, TlsCertificate, TrustedAuthorities
from meshpass.memo import Memo
from meshpass.translate.filecontent import UNREAD, FileContent, FileContents
from meshpass.translate.gatewaytls import TERMINATING
from meshpass.translate.pem import (
    authorities_problem,
    certificate_problem,
    private_key_problem,
    rewrite_authorities,
    rewrite_certificates,
    rewrite_private_key,
)
from meshpass.translate.workspace import WorkspaceIndex

PREFIX = "file:"
"""What names of secrets from files begin with; no cluster has a colon in its name."""


class CertificateFile(NamedTuple):
    """A certificate with its key, each in a file. Paths are absolute."""

    certificate: str
    private_key: str

    @property
    def name(self) -> str:
        """The name under which proxies get it."""
        return f"{PREFIX}{_quote(self.certificate)}#{_quote(self.private_key)}"


class AuthoritiesFile(NamedTuple):
    """Authorities in a file. The path is absolute."""

    path: str

    @property
    def name(self) -> str:
        """The name under which proxies get them."""
        return f"{PREFIX}{_quote(self.path)}#ca"


FileCredential = CertificateFile | AuthoritiesFile


class FilePart(StrEnum):
    """What a file was to hold."""

    CERTIFICATE = "certificate"
    PRIVATE_KEY = "private key"
    AUTHORITIES = "authorities"


class FileProblem(NamedTuple):
    """Why a file, or a pair of them, cannot be used. It says nothing of what is inside."""

    part: FilePart
    """Which file is to blame."""
    message: str
    missing: bool = False
    """True where there is nothing that could be judged."""


NEVER_READ = FileProblem(FilePart.CERTIFICATE, f"the file {UNREAD.problem}", missing=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileCredentials:
    """All that objects name as files, by the names under which proxies get it."""

    found: Mapping[str, Secret | FileProblem]
    paths: frozenset[str]
    """The files that it comes from."""


def find_file_credentials(
    external_services: Mapping[ObjectKey, ExternalService],
    virtual_gateways: Mapping[ObjectKey, VirtualGateway],
    workspaces: WorkspaceIndex,
) -> tuple[FileCredential, ...]:
    """What objects that belong to a workspace have in files and make use of; each once, sorted by name."""
    found: dict[str, FileCredential] = {}
    for key, service in external_services.items():
        if workspaces.owner(key) is not None:
            found.update((one.name, one) for one in files_of_service(service))
    for key, gateway in virtual_gateways.items():
        if workspaces.owner(key) is not None:
            for listener in gateway.spec.listeners:
                found.update((one.name, one) for one in _files_of_listener(listener.tls))
    return tuple(found[name] for name in sorted(found))


def files_of_service(service: ExternalService) -> tuple[FileCredential, ...]:
    """What an ExternalService has in files and makes use of."""
    return tuple(one for port in service.spec.ports for one in _files_of_client(port.clientside_tls))


def _files_of_client(tls: ClientsideTls | None) -> Iterator[FileCredential]:
    if tls is None or tls.mode not in {ClientTlsMode.SIMPLE, ClientTlsMode.MUTUAL}:
        return
    if is_absolute(tls.ca_certificates) and not tls.insecure_skip_verify:
        yield AuthoritiesFile(tls.ca_certificates)
    if tls.mode is ClientTlsMode.MUTUAL and is_absolute(tls.client_certificate) and is_absolute(tls.private_key):
        yield CertificateFile(tls.client_certificate, tls.private_key)


def _files_of_listener(tls: ListenerTls | None) -> Iterator[FileCredential]:
    if tls is None or tls.files is None or tls.mode not in TERMINATING:
        return
    if is_absolute(tls.files.server_cert) and is_absolute(tls.files.private_key):
        yield CertificateFile(tls.files.server_cert, tls.files.private_key)
    if tls.mode is GatewayTlsMode.MUTUAL and is_absolute(tls.files.ca_certs):
        yield AuthoritiesFile(tls.files.ca_certs)


def is_absolute(path: str) -> bool:
    """True for a path that means the same file to everyone."""
    return path.startswith("/")


def read_file_credentials(wanted: tuple[FileCredential, ...], files: FileContents, memo: Memo) -> FileCredentials:
    """What the files come to; to be called through the memo. What did not change keeps its identity."""
    found: dict[str, Secret | FileProblem] = {}
    paths: set[str] = set()
    for one in wanted:
        paths.update(one)
        match one:
            case CertificateFile():
                pair = files.get(one.certificate, UNREAD), files.get(one.private_key, UNREAD)
                found[one.name] = memo(_read_certificate, one.name, *pair)
            case AuthoritiesFile():
                found[one.name] = memo(_read_authorities, one.name, files.get(one.path, UNREAD))
    return FileCredentials(found=found, paths=frozenset(paths))


def _read_certificate(name: str, certificate: FileContent, private_key: FileContent) -> TlsCertificate | FileProblem:
    for part, content in ((FilePart.CERTIFICATE, certificate), (FilePart.PRIVATE_KEY, private_key)):
        if content.problem:
            return FileProblem(part, f"the file {content.problem}", missing=True)
    if problem := certificate_problem(certificate.text):
        return FileProblem(FilePart.CERTIFICATE, f"the file {problem}")
    if problem := private_key_problem(certificate.text, private_key.text):
        return FileProblem(FilePart.PRIVATE_KEY, f"the file {problem}")
    # Whatever else is in the files stays where it is.
    chain, key = rewrite_certificates(certificate.text), rewrite_private_key(private_key.text)
    return TlsCertificate(name=name, chain=chain, private_key=key)


def _read_authorities(name: str, content: FileContent) -> TrustedAuthorities | FileProblem:
    if content.problem:
        return FileProblem(FilePart.AUTHORITIES, f"the file {content.problem}", missing=True)
    if problem := authorities_problem(content.text):
        return FileProblem(FilePart.AUTHORITIES, f"the file {problem}")
    return TrustedAuthorities(name=name, certificates=rewrite_authorities(content.text))


def _quote(path: str) -> str:
    """Any text as one that has no ``#``: two pairs of paths never come to one name."""
    return quote(path, errors="surrogatepass")
