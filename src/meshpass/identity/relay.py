"""Credentials of the relay, by which management server and agents know each other; an authority of its own signs them."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from meshpass.errors import MeshpassError
from meshpass.identity.authority import is_signed_by, make_request, read_request
from meshpass.identity.pem import encode_certificates, encode_private_key, parse_certificates
from meshpass.identity.profile import generate_key
from meshpass.identity.relayauthority import RelayAuthority, ensure_relay_authority, read_relay_key
from meshpass.identity.spiffe import agent_id, check_trust_domain, uri_names
from meshpass.secretfile import make_private_directory, write_secret_file

logger = logging.getLogger(__name__)

LOOK_SECONDS = 3600.0
"""Between two looks at credentials that may be due; also after a failure."""

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayCredentials:
    """Three PEM files of mode 0600: whom to believe, what to show, and its key."""

    ca: Path
    certificate: Path
    private_key: Path


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
    names = [_general_name(host) for host in hosts]
    now = clock()
    authority = ensure_relay_authority(directory, now)
    return _ensure(
        directory / "relay",
        authority,
        now,
        fits=lambda leaf: _covers(leaf, names),
        issue=lambda key: authority.sign_server(key, names, now),
    )


def ensure_agent_credentials(
    directory_of_ca: Path, target_directory: Path, trust_domain: str, cluster: str, *, clock: Clock = _now
) -> RelayCredentials:
    """``target_directory`` has credentials of the cluster's agent, which are not half used up.

    ``directory_of_ca`` is the management server's; the authority is made where there is none. What there is and is good
    is kept. Raises MeshpassError where the authority is damaged or others can read it.
    """
    spiffe_id = agent_id(check_trust_domain(trust_domain), cluster)
    now = clock()
    authority = ensure_relay_authority(directory_of_ca, now)
    return _ensure(
        target_directory,
        authority,
        now,
        fits=lambda leaf: uri_names(leaf) == (spiffe_id,),
        issue=lambda key: authority.sign_agent(key, spiffe_id, now),
    )


def sign_agent_credentials(
    directory_of_ca: Path, csr_pem: str, trust_domain: str, cluster: str, *, clock: Clock = _now
) -> str:
    """A certificate of the cluster's agent with the key of the request, as PEM; the rest of the request is ignored.

    For an agent that is connected, and so has shown who it is. Raises MeshpassError where the request is none.
    """
    spiffe_id = agent_id(check_trust_domain(trust_domain), cluster)
    now = clock()
    authority = ensure_relay_authority(directory_of_ca, now)
    return encode_certificates([authority.sign_agent(read_request(csr_pem), spiffe_id, now)])


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
                key = read_relay_key(credentials.private_key)
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


def _ensure(
    directory: Path,
    authority: RelayAuthority,
    now: datetime,
    *,
    fits: Callable[[x509.Certificate], bool],
    issue: Callable[[ec.EllipticCurvePublicKey], x509.Certificate],
) -> RelayCredentials:
    """The directory has credentials that are good and fit: those that there are, or what is issued now."""
    credentials = credentials_in(make_private_directory(directory))
    if not _is_good(credentials, authority, now) or not fits(_leaf(credentials)):
        key = generate_key()
        _write(credentials, authority.certificate, issue(key.public_key()), key)
    return credentials


def _is_good(credentials: RelayCredentials, authority: RelayAuthority, now: datetime) -> bool:
    try:
        leaf = _leaf(credentials)
        ca = parse_certificates(credentials.ca.read_text(encoding="ascii"), "ca.crt")
        key = read_relay_key(credentials.private_key)
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


def _covers(leaf: x509.Certificate, names: Iterable[x509.GeneralName]) -> bool:
    covered = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return all(name in covered for name in names)


def _half_life(certificate: x509.Certificate) -> datetime:
    begun = certificate.not_valid_before_utc
    return begun + (certificate.not_valid_after_utc - begun) / 2


def _leaf(credentials: RelayCredentials) -> x509.Certificate:
    return parse_certificates(credentials.certificate.read_text(encoding="ascii"), "tls.crt")[0]


def _write(
    credentials: RelayCredentials, ca: x509.Certificate, leaf: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    # The key goes first: a crash in between leaves a set that does not fit together, and is issued anew.
    write_secret_file(credentials.private_key, encode_private_key(key).encode())
    write_secret_file(credentials.certificate, encode_certificates([leaf]).encode())
    write_secret_file(credentials.ca, encode_certificates([ca]).encode())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
