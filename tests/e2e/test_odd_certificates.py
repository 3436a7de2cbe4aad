"""What the reading of files lets through, Envoy takes: a certificate that it refused would hold up all that a proxy is told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from tests.support.certificates import Authority
from tests.support.envoy import EnvoyUnderTest, run_envoy
from tests.support.gateway_objects import make_pair

from meshpass.ir import Backend, Endpoint, Proxy, Secret, TlsCertificate, UpstreamTls
from meshpass.memo import Memo
from meshpass.translate.filecontent import FileContent
from meshpass.translate.filecredential import (
    AuthoritiesFile,
    CertificateFile,
    FileCredential,
    FileProblem,
    read_file_credentials,
)

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

KEYS = {
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "k1": ec.generate_private_key(ec.SECP256K1()),
    "brainpool": ec.generate_private_key(ec.BrainpoolP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa1024": rsa.generate_private_key(65537, 1024),
    "rsa-of-exponent-3": rsa.generate_private_key(3, 2048),
}
AUTHORITY = Authority()
ONE, ODD = AUTHORITY.sign("one"), AUTHORITY.sign("odd", key=ed448.Ed448PrivateKey.generate())
PAIRS = {name: make_pair(key=key) for name, key in KEYS.items()} | {
    "another-key": (ONE.chain, ODD.private_key),
    "no-key": (ONE.chain, ONE.chain),
    "an-odd-chain": (ONE.chain + ODD.chain + ONE.chain, ONE.private_key),
    "all-in-each": (ONE.private_key + ONE.chain, ONE.chain + ONE.private_key),
    "a-broken-one-after-it": (
        ONE.chain + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ONE.private_key,
    ),
    "text-around": (f"Certificate:\n  Data: ü\n{ONE.chain}\r\n", f"\n\n{ONE.private_key}x"),
}
AUTHORITIES = {name: pair[0] for name, pair in PAIRS.items()} | {
    "several-times": AUTHORITY.certificate * 3,
    "with-an-odd-one": AUTHORITY.certificate + ODD.chain,
    "with-half-a-list": AUTHORITY.certificate + "-----BEGIN X509 CRL-----\nAAAA\n",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def envoy() -> AsyncIterator[EnvoyUnderTest]:
    async with run_envoy() as running:
        yield running


def read(one: FileCredential, *texts: str) -> Secret | FileProblem:
    contents = {path: FileContent(text=text) for path, text in zip(one, texts, strict=True)}
    return read_file_credentials((one,), contents, Memo()).found[one.name]


async def is_taken(envoy: EnvoyUnderTest, secret: Secret) -> bool:
    """Whether an Envoy without any takes it."""
    is_own = isinstance(secret, TlsCertificate)
    tls = UpstreamTls(verify=False, certificate=secret.name) if is_own else UpstreamTls(authorities=secret.name)
    backend = Backend(name=secret.name, endpoints=(Endpoint("127.0.0.1", 9),), tls=tls)
    state = await envoy.apply(Proxy(node="any", backends=(backend,), secrets=(secret,)))
    await envoy.apply(Proxy(node="any"))
    return state.in_sync


@pytest.mark.parametrize("name", PAIRS)
async def test_a_certificate_is_told_to_be_wrong_or_taken(envoy: EnvoyUnderTest, name: str) -> None:
    """Whatever stands in the files."""
    found = read(CertificateFile(f"/{name}.crt", f"/{name}.key"), *PAIRS[name])

    assert isinstance(found, FileProblem) or await is_taken(envoy, found)


@pytest.mark.parametrize("name", AUTHORITIES)
async def test_authorities_are_told_to_be_wrong_or_taken(envoy: EnvoyUnderTest, name: str) -> None:
    """Whatever stands in the file."""
    found = read(AuthoritiesFile(f"/{name}.ca"), AUTHORITIES[name])

    assert isinstance(found, FileProblem) or await is_taken(envoy, found)


async def test_envoy_would_refuse_what_is_told_to_be_wrong(envoy: EnvoyUnderTest) -> None:
    """So that these tests can fail."""
    assert not await is_taken(envoy, TlsCertificate(name="wrong", chain=ONE.chain, private_key=ODD.private_key))
