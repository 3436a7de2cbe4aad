"""Credentials of the relay: an authority of its own, by which management server and agents know each other."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from meshpass.errors import MeshpassError
from meshpass.identity.authority import is_signed_by, make_request, read_request
from meshpass.identity.pem import encode_certificates, encode_private_key, parse_certificates, parse_private_key
from meshpass.identity.profile import build_agent, build_root, build_server, generate_key
from meshpass.identity.spiffe import agent_id, check_trust_domain, uri_names
from meshpass.secretfile import make_private_directory, write_secret_file

logger = logging.getLogger(__name__)

LOOK_SECONDS = 3600.0
"""Between two looks at credentials that may be due; also after a failure."""

_AUTHORITY_FILE = "relay-ca.pem"

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayCredentials:
    """Three PEM files of mode 0600: whom to believe, what to show, and its key."""

    ca: Path
    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _RelayAuthority:
    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return "_RelayAuthority(***)"


def credentials_in(directory: Path) -> RelayCredentials:
    """Where credentials are in a directory; nothing is made."""
    return RelayCredentials(
        ca=directory / "ca.crt", certificate=directory / "tls.crt", private_key=directory / "tls.key"
    )


def ensure_server_credentials(directory: Path, hosts: Sequence[str], *, clock: Clock = _now) -> RelayCredentials:
    """``<directory>/relay`` has credentials of a server for these DNS names and addresses, which are not half used up.

    ``directory`` is the management server's; the authority that signs them is in it, and made where there is none.
    What there is and is good is kept. Raises MeshpassError where the authority is damaged or others can read it.
    """
    now = clock()
    authority = _ensure_authority(directory, now)
    names = [_general_name(host) for host in hosts]
    credentials = credentials_in(_private_directory(directory / "relay"))
    if _is_good(credentials, authority, now) and _covers(credentials, names):
        return credentials
    key = generate_key()
    leaf = build_server(
        key.public_key(),
        name="meshpass management server",
        names=names,
        issuer=authority.certificate,
        issuer_key=authority.private_key,
        now=now,
    )
    _write(credentials, authority.certificate, leaf, key)
    return credentials


def ensure_agent_credentials(
    directory_of_ca: Path, target_directory: Path, trust_domain: str, cluster: str, *, clock: Clock = _now
) -> RelayCredentials:
    """``target_directory`` has credentials of the cluster's agent, which are not half used up.

    ``directory_of_ca`` is the management server's; the authority is made where there is none. What there is and is good
    is kept. Raises MeshpassError where the authority is damaged or others can read it.
    """
    now = clock()
    authority = _ensure_authority(directory_of_ca, now)
    spiffe_id = agent_id(check_trust_domain(trust_domain), cluster)
    credentials = credentials_in(_private_directory(target_directory))
    if _is_good(credentials, authority, now) and uri_names(_leaf(credentials)) == (spiffe_id,):
        return credentials
    key = generate_key()
    leaf = build_agent(
        key.public_key(),
        spiffe_id=spiffe_id,
        issuer=authority.certificate,
        issuer_key=authority.private_key,
        now=now,
    )
    _write(credentials, authority.certificate, leaf, key)
    return credentials


def sign_agent_credentials(
    directory_of_ca: Path, csr_pem: str, trust_domain: str, cluster: str, *, clock: Clock = _now
) -> str:
    """A certificate of the cluster's agent with the key of the request, as PEM; the rest of the request is ignored.

    For an agent that is connected, and so has shown who it is. Raises MeshpassError where the request is none.
    """
    now = clock()
    authority = _ensure_authority(directory_of_ca, now)
    leaf = build_agent(
        read_request(csr_pem),
        spiffe_id=agent_id(check_trust_domain(trust_domain), cluster),
        issuer=authority.certificate,
        issuer_key=authority.private_key,
        now=now,
    )
    return encode_certificates([leaf])


async def keep_server_credentials(
    directory: Path,
    hosts: Sequence[str],
    *,
    clock: Clock = _now,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> NoReturn:
    """Until cancelled: what `ensure_server_credentials` has made is never more than half used up.

    A failure is told and tried again. Connections that there are go on.
    """
    while True:
        await sleep(LOOK_SECONDS)
        try:
            ensure_server_credentials(directory, hosts, clock=clock)
        except (OSError, MeshpassError) as error:
            logger.warning("credentials of the relay not renewed", extra={"error": str(error)})


async def keep_agent_credentials(
    credentials: RelayCredentials,
    sign: Callable[[str], Awaitable[str]],
    *,
    clock: Clock = _now,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> NoReturn:
    """Until cancelled: at half its life the certificate is another one, with the same key, signed by `sign`.

    A failure is told and tried again. A connection that there is goes on; the next one shows what is in the file then.
    The key stays, so that the one file that is written is all that changes.
    """
    while True:
        try:
            leaf = _leaf(credentials)
            if clock() >= _half_life(leaf):
                key = _read_key(credentials.private_key)
                signed = parse_certificates(await sign(make_request(key)), "the answer")
                if signed[0].public_key() != key.public_key() or uri_names(signed[0]) != uri_names(leaf):
                    raise MeshpassError("what was signed is the certificate of somebody else")  # noqa: TRY301
                write_secret_file(credentials.certificate, encode_certificates(signed).encode())
                logger.info("credentials of the relay renewed", extra={"path": str(credentials.certificate)})
        except Exception as error:  # noqa: BLE001 (the connection and the disk have errors of all kinds; all can pass)
            logger.warning("credentials of the relay not renewed", extra={"error": str(error) or type(error).__name__})
        await sleep(LOOK_SECONDS)


def agent_cluster(peer: str | bytes | Iterable[str], trust_domain: str) -> str | None:
    """The cluster whose agent it is; None where it is none of this trust domain.

    ``peer`` is the certificate that a client has shown, as PEM, or the URIs among its names. TLS has verified that the
    relay's authority signed it. More than one URI is not what this authority signs (X509-SVID §2).
    """
    if isinstance(peer, str | bytes):
        try:
            pem = peer if isinstance(peer, str) else peer.decode("ascii")
            names = uri_names(parse_certificates(pem, "the peer")[0])
        except (ValueError, MeshpassError):
            return None
    else:
        names = tuple(peer)
    prefix = agent_id(trust_domain, "")
    if len(names) != 1 or not names[0].startswith(prefix):
        return None
    cluster = names[0].removeprefix(prefix)
    return cluster if cluster and "/" not in cluster else None


def _ensure_authority(directory: Path, now: datetime) -> _RelayAuthority:
    path = _private_directory(directory) / _AUTHORITY_FILE
    if not path.exists():
        key = generate_key()
        certificate = build_root(key, name="Meshpass relay", organization="", path_length=0, now=now)
        _write_first(path, encode_private_key(key) + encode_certificates([certificate]))
    if path.stat().st_mode & 0o077:
        raise MeshpassError(
            f"the authority of the relay in {path} can be read by others",
            hint="delete it, and start the mesh again: everyone gets credentials of a new one",
        )
    try:
        text = path.read_text(encoding="ascii")
        return _RelayAuthority(certificate=parse_certificates(text, str(path))[0], private_key=_read_key(path))
    except (ValueError, MeshpassError) as error:
        raise MeshpassError(
            f"the authority of the relay in {path} is damaged",
            hint="delete it, and start the mesh again: everyone gets credentials of a new one",
        ) from error


def _write_first(path: Path, text: str) -> None:
    """The file holds the text, or what another process has written at the same moment."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as directory:
        whole = Path(directory) / path.name
        write_secret_file(whole, text.encode())
        try:
            os.link(whole, path)
        except FileExistsError:
            return


def _is_good(credentials: RelayCredentials, authority: _RelayAuthority, now: datetime) -> bool:
    try:
        leaf = _leaf(credentials)
        ca = parse_certificates(credentials.ca.read_text(encoding="ascii"), "ca.crt")
        key = _read_key(credentials.private_key)
        mode = credentials.private_key.stat().st_mode
    except (OSError, ValueError, MeshpassError):
        return False
    return (
        ca == (authority.certificate,)
        and is_signed_by(leaf, authority.certificate)
        and key.public_key() == leaf.public_key()
        and mode & 0o077 == 0
        and now < _half_life(leaf)
    )


def _covers(credentials: RelayCredentials, names: Iterable[x509.GeneralName]) -> bool:
    covered = _leaf(credentials).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return all(name in covered for name in names)


def _half_life(certificate: x509.Certificate) -> datetime:
    begun = certificate.not_valid_before_utc
    return begun + (certificate.not_valid_after_utc - begun) / 2


def _leaf(credentials: RelayCredentials) -> x509.Certificate:
    return parse_certificates(credentials.certificate.read_text(encoding="ascii"), "tls.crt")[0]


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = parse_private_key(path.read_text(encoding="ascii"), str(path))
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise MeshpassError(f"{path} holds no ECDSA key")
    return key


def _write(
    credentials: RelayCredentials, ca: x509.Certificate, leaf: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    # The key goes first: a crash in between leaves a set that does not fit together, and is issued anew.
    write_secret_file(credentials.private_key, encode_private_key(key).encode())
    write_secret_file(credentials.certificate, encode_certificates([leaf]).encode())
    write_secret_file(credentials.ca, encode_certificates([ca]).encode())


def _private_directory(path: Path) -> Path:
    return make_private_directory(path)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
