"""Identities for tests: authorities as users make them, verification by others' code, and time by hand."""

from __future__ import annotations

import asyncio
import heapq
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from meshpass.identity.intermediate import IntermediateStore
from meshpass.identity.roots import RootStore
from meshpass.identity.workload import WorkloadIssuer
from meshpass.translate.identity import WorkloadCertificate

OPENSSL = "/usr/bin/openssl"
START = datetime(2026, 8, 1, 12, tzinfo=UTC)

DOMAIN = "cluster.local"
ALICE, BOB = (f"spiffe://{DOMAIN}/ns/bookinfo/sa/{name}" for name in ("alice", "bob"))

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class ManualTime:
    """A clock that goes when it is told to, and sleeps that end by it."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now
        self._sleepers: list[tuple[datetime, int, asyncio.Event]] = []

    def clock(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now + timedelta(seconds=seconds), id(woken), woken))
        await woken.wait()

    async def jump(self, **span: float) -> None:
        """The clock is so much later while whoever sleeps goes on to sleep, as on a machine that was asleep itself."""
        self.now += timedelta(**span)
        await self.advance(minutes=1)

    async def advance(self, **span: float) -> None:
        """So much time passes, and whoever sleeps wakes in order, each with its time to act."""
        await settle()
        end = self.now + timedelta(**span)
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleepers)
            self.now = max(self.now, due)
            woken.set()
            await settle()
        self.now = end


async def settle() -> None:
    """Every task has come to where it waits for something that nobody has done yet."""
    for _ in range(100):
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ca:
    """A CA as a user makes it."""

    certificate: x509.Certificate
    key: SigningKey

    @property
    def pem(self) -> str:
        return pem(self.certificate)

    @property
    def key_pem(self) -> str:
        return key_pem(self.key)


def make_ca(
    name: str = "users root",
    *,
    signed_by: Ca | None = None,
    ca: bool = True,
    path_length: int | None = None,
    key: SigningKey | None = None,
    begin: datetime = START - timedelta(days=1),
    end: datetime = START + timedelta(days=3650),
    cert_sign: bool = True,
    identifiers: bool = True,
    constraints: x509.NameConstraints | None = None,
) -> Ca:
    """A CA certificate, signed by itself unless another one is named."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=cert_sign,
        crl_sign=cert_sign,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signed_by.certificate.subject if signed_by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True)
        .add_extension(usage, critical=True)
    )
    signer = signed_by.key if signed_by else key
    if identifiers:
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return Ca(certificate=builder.sign(signer, hashes.SHA256()), key=key)


def pem(*certificates: x509.Certificate) -> str:
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


def key_pem(key: SigningKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def certificates(text: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(text.encode())


def openssl_verifies(
    directory: Path, chain: str, roots: str, *, at: datetime = START, purpose: str = "sslserver"
) -> bool:
    """What `openssl verify` has to say of the first of the chain, strictly by RFC 5280, at a time."""
    leaf, *rest = certificates(chain)
    files = {"leaf": pem(leaf), "rest": pem(*rest), "roots": roots}
    for name, text in files.items():
        (directory / f"{name}.pem").write_text(text)
    done = subprocess.run(
        [
            *(OPENSSL, "verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-purpose", purpose),
            *("-attime", str(int(at.timestamp())), "-CAfile", str(directory / "roots.pem")),
            *(("-untrusted", str(directory / "rest.pem")) if rest else ()),
            str(directory / "leaf.pem"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode == 0


def shake_hands(
    directory: Path, server: tuple[str, str, str], client: tuple[str, str, str]
) -> tuple[dict[str, object], dict[str, object]] | None:
    """A TLS handshake of two peers with (chain, key, roots) each, who both want a certificate and ask for no host.

    What the server and what the client have seen of each other; None where one refuses the other.
    """
    ours, theirs = socket.socketpair()
    contexts = [
        _context(directory, "server", ssl.PROTOCOL_TLS_SERVER, server),
        _context(directory, "client", ssl.PROTOCOL_TLS_CLIENT, client),
    ]
    seen: list[dict[str, object]] = []

    def serve() -> None:
        try:
            with contexts[0].wrap_socket(theirs, server_side=True) as connection:
                seen.append(dict(connection.getpeercert() or {}))
                connection.sendall(b"x")
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    told: dict[str, object] = {}
    try:
        with contexts[1].wrap_socket(ours) as connection:
            told |= dict(connection.getpeercert() or {})
            # With TLS 1.3 a client has finished before the server has looked at its certificate.
            accepted = connection.recv(1) == b"x"
    except OSError:
        accepted = False
    finally:
        ours.close()
        thread.join()
    return (seen[0], told) if accepted else None


def _context(directory: Path, name: str, protocol: int, peer: tuple[str, str, str]) -> ssl.SSLContext:
    chain, key, roots = peer
    file = directory / f"{name}-shown.pem"
    file.write_text(key + chain)
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(file)
    context.load_verify_locations(cadata=roots)
    return context


def modes(directory: Path) -> Iterable[tuple[str, int]]:
    """Name and permissions of everything below the directory."""
    return [(path.name, path.stat().st_mode & 0o777) for path in sorted(directory.rglob("*"))]


class IssuingProcess:
    """A process alone: root, intermediate and issuer."""

    def __init__(self, directory: Path, name: str = "agent", *, begin: datetime = START) -> None:
        self.time = ManualTime(begin)
        self.roots = RootStore(directory / "server", DOMAIN, clock=self.time.clock, settle_seconds=0)
        self.store = IntermediateStore(directory / name, name, clock=self.time.clock, sleep=self.time.sleep)
        self.jitter = 0.5
        self.issuer = WorkloadIssuer(
            self.store, clock=self.time.clock, sleep=self.time.sleep, random=lambda: self.jitter
        )

    @asynccontextmanager
    async def running(self, *, trust: bool = True) -> AsyncIterator[None]:
        if trust:
            self.store.trust(self.roots.bundle)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self.store.run(self.roots.signer(self.store.cluster))),
                tasks.create_task(self.issuer.run()),
            ]
            await settle()
            yield
            for task in running:
                task.cancel()

    def shown(self, name: str) -> WorkloadCertificate:
        return self.issuer.identities.certificates[name]

    def peer(self, name: str) -> tuple[str, str, str]:
        one = self.shown(name)
        return one.chain, one.private_key, self.issuer.identities.authorities
