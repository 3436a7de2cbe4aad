"""Roots: made or given, on disk, and what they sign; verified by OpenSSL."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.support.identities import START, certificates, make_ca, modes, openssl_verifies, pem

from meshpass.errors import MeshpassError
from meshpass.identity.authority import make_request
from meshpass.identity.pem import fingerprint
from meshpass.identity.profile import generate_key
from meshpass.identity.roots import RootStore
from meshpass.identity.rotation import Late
from meshpass.identity.trust import IntermediateState, Phase

DOMAIN = "cluster.local"


def open_store(directory: Path, now=START, domain: str = DOMAIN) -> RootStore:
    return RootStore(directory / "identity", domain, clock=lambda: now, settle_seconds=0)


def sign(store: RootStore, cluster: str = "cluster1") -> str:
    return store.sign(make_request(generate_key()), cluster)


def stored_keys(directory: Path) -> int:
    return (directory / "identity" / "roots.json").read_text().count("BEGIN PRIVATE KEY")


def test_a_root_is_made_once_and_kept(tmp_path: Path) -> None:
    """In a private directory, in a private file; for ten years, with room for one CA below it, and without a name."""
    before = open_store(tmp_path).bundle

    assert open_store(tmp_path).bundle == before
    assert list(modes(tmp_path)) == [("identity", 0o700), ("roots.json", 0o600)]
    (root,) = certificates(before.roots)
    assert before.trusts == (fingerprint(root),) == (before.signing,) == (before.signing_root,)
    assert before.phase is Phase.STEADY
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 1)
    assert isinstance(root.public_key().curve, ec.SECP256R1)
    assert timedelta(days=3650) < root.not_valid_after_utc - START < timedelta(days=3660)
    with pytest.raises(x509.ExtensionNotFound):
        root.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_two_roots_have_two_subjects(tmp_path: Path) -> None:
    """Some verifiers take the first issuer of the right name, and no other."""
    roots = [certificates(open_store(tmp_path / name).bundle.roots)[0] for name in "ab"]

    assert roots[0].subject != roots[1].subject


def test_an_intermediate_has_of_its_request_the_key_alone(tmp_path: Path) -> None:
    """Valid for a year, CA of leaves alone, with the SPIFFE ID of the trust domain, whatever was asked for."""
    store = open_store(tmp_path)
    key = generate_key()
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the root")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=5), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bank.example.com")]), critical=True)
        .sign(key, hashes.SHA256())
    )

    chain = store.sign(pem(greedy), "cluster1")  # type: ignore[arg-type]

    (made,) = certificates(chain)
    assert made.public_key() == key.public_key()
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [f"spiffe://{DOMAIN}"]
    usage = made.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.digital_signature) == (True, False)
    assert "cluster1" in made.subject.rfc4514_string()
    assert "the root" not in made.subject.rfc4514_string()
    assert made.not_valid_after_utc - START == timedelta(days=365)
    assert openssl_verifies(tmp_path, chain, store.bundle.roots, purpose="any")


@pytest.mark.parametrize("request_for", ["nothing", "rsa", "p384", "forged"])
def test_a_request_that_is_none_is_refused(tmp_path: Path, request_for: str) -> None:
    """And whoever sent it is not one who got something."""
    store = open_store(tmp_path)
    match request_for:
        case "nothing":
            text = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
        case "rsa" | "p384":
            key = (
                rsa.generate_private_key(65537, 2048)
                if request_for == "rsa"
                else ec.generate_private_key(ec.SECP384R1())
            )
            text = pem(x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256()))
        case _:
            text = forge()

    with pytest.raises(MeshpassError):
        store.sign(text, "cluster1")

    assert b"cluster1" not in (tmp_path / "identity" / "roots.json").read_bytes()


def forge() -> str:
    """A request whose signature is of another key than the one that it is for."""
    from cryptography.hazmat.primitives import serialization

    request = x509.load_pem_x509_csr(make_request(generate_key()).encode())
    data = bytearray(request.public_bytes(serialization.Encoding.DER))
    mine = request.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    other = (
        generate_key()
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    )
    at = data.index(mine)
    data[at : at + len(mine)] = other
    return x509.load_der_x509_csr(bytes(data)).public_bytes(serialization.Encoding.PEM).decode()


def test_an_intermediate_does_not_outlive_its_root(tmp_path: Path) -> None:
    """What is valid longer than its issuer would be refused without a word of why."""
    ca = make_ca(end=START + timedelta(days=30))
    store = open_store(tmp_path)
    store.use(ca.pem, ca.key_pem)

    assert certificates(sign(store))[0].not_valid_after_utc == START + timedelta(days=30)


@pytest.mark.parametrize("damage", ["mode", "text", "key"])
def test_a_damaged_file_of_roots_is_never_replaced(tmp_path: Path, damage: str) -> None:
    """With another root in its place nobody would believe anybody: it is an error, which says what to do."""
    open_store(tmp_path)
    path = tmp_path / "identity" / "roots.json"
    match damage:
        case "mode":
            path.chmod(0o640)
        case "text":
            path.write_bytes(path.read_bytes()[:-50])
        case "key":
            path.write_text(path.read_text().replace("BEGIN PRIVATE KEY", "BEGIN PRIVATE CAT"))
    before = path.read_bytes()

    with pytest.raises(MeshpassError) as error:
        open_store(tmp_path)

    assert error.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("domain", ["", "Cluster.Local", "a/b", "a b", "a:80", "x" * 256, "ä"])
def test_a_trust_domain_is_a_trust_domain(tmp_path: Path, domain: str) -> None:
    """SPIFFE-ID §2.1."""
    with pytest.raises(MeshpassError, match="trust domain"):
        open_store(tmp_path, domain=domain)


def test_a_given_root_signs_from_the_beginning(tmp_path: Path) -> None:
    """As long as nobody has a certificate, nobody has to be waited for; the root that was made is forgotten."""
    ca = make_ca()
    store = open_store(tmp_path)

    assert store.use(ca.pem, ca.key_pem) is True
    assert store.use(ca.pem, ca.key_pem) is False

    assert store.given
    assert store.bundle.roots == ca.pem
    assert store.bundle.phase is Phase.STEADY
    assert stored_keys(tmp_path) == 1
    assert open_store(tmp_path).bundle == store.bundle
    assert openssl_verifies(tmp_path, sign(store), ca.pem, purpose="any")


@pytest.mark.parametrize("where", ["tls.crt", "ca.crt"])
@pytest.mark.parametrize("bits", [None, 2048])
def test_a_given_authority_may_be_an_intermediate(tmp_path: Path, where: str, bits: int | None) -> None:
    """Its chain is shown with everything that it signs; its root, and no other of it, is believed."""
    root = make_ca("root", path_length=2)
    key = None if bits is None else rsa.generate_private_key(65537, bits)
    issuing = make_ca("issuing", signed_by=root, path_length=1, key=key)
    store = open_store(tmp_path)

    store.use(
        issuing.pem + (root.pem if where == "tls.crt" else ""), issuing.key_pem, root.pem if where == "ca.crt" else ""
    )

    chain = sign(store)
    assert certificates(chain)[1:] == [issuing.certificate]
    assert store.bundle.trusts == (fingerprint(root.certificate),) == (store.bundle.signing_root,)
    assert store.bundle.signing == fingerprint(issuing.certificate)
    assert openssl_verifies(tmp_path, chain, store.bundle.roots, purpose="any")
    assert sign(open_store(tmp_path)).endswith(issuing.pem)


def test_further_roots_are_believed(tmp_path: Path) -> None:
    """Those of ca.crt beside the one that signs."""
    ca, other = make_ca("one"), make_ca("other")
    store = open_store(tmp_path)

    store.use(ca.pem, ca.key_pem, other.pem + ca.pem)

    assert set(store.bundle.trusts) == {fingerprint(ca.certificate), fingerprint(other.certificate)}
    assert store.bundle.signing == fingerprint(ca.certificate)


def broken_roots() -> dict[str, tuple[str, str, str, str]]:
    good, other = make_ca("good"), make_ca("other")
    leaf = make_ca("leaf", ca=False, cert_sign=False)
    tight = make_ca("tight", path_length=0)
    old = make_ca("old", end=START - timedelta(seconds=1))
    young = make_ca("young", begin=START + timedelta(seconds=1))
    dumb = make_ca("dumb", cert_sign=False)
    below = make_ca("below", signed_by=good)
    small = make_ca("small", key=rsa.generate_private_key(65537, 1024))
    edwards = pem_of_edwards()
    narrow = make_ca("narrow", constraints=uri_constraint("other.example.com"))
    return {
        "no PEM": ("hello", good.key_pem, "", "tls.crt holds no certificate"),
        "empty": ("", good.key_pem, "", "tls.crt holds no certificate"),
        "cut": (good.pem[:-60], good.key_pem, "", "tls.crt holds no certificate"),
        "no key": (good.pem, "", "", "tls.key holds no private key"),
        "a certificate as key": (good.pem, good.pem, "", "tls.key holds no private key"),
        "another key": (good.pem, other.key_pem, "", "does not fit"),
        "no CA": (leaf.pem, leaf.key_pem, "", "not the certificate of a CA"),
        "no room below": (tight.pem, tight.key_pem, "", "pathlen"),
        "no room in the chain": (
            *room_for_one(),
            "",
            "pathlen",
        ),
        "expired": (old.pem, old.key_pem, "", "expired"),
        "not yet": (young.pem, young.key_pem, "", "not valid yet"),
        "may not sign": (dumb.pem, dumb.key_pem, "", "keyCertSign"),
        "no root": (below.pem, below.key_pem, "", "holds the root that signed"),
        "another root": (below.pem, below.key_pem, other.pem, "holds the root that signed"),
        "no chain": (below.pem + other.pem, below.key_pem, "", "no chain"),
        "broken further": (good.pem, good.key_pem, "hello", "ca.crt holds no certificate"),
        "further that is no root": (good.pem, good.key_pem, below.pem, "is no root"),
        "expired further": (good.pem, good.key_pem, old.pem, "expired"),
        "short key": (small.pem, small.key_pem, "", "does not verify"),
        "key of another kind": (*edwards, "", "does not verify"),
        "other names": (narrow.pem, narrow.key_pem, "", "name constraints"),
    }


def room_for_one() -> tuple[str, str]:
    root = make_ca("roomy", path_length=1)
    below = make_ca("inner", signed_by=root)
    return below.pem + root.pem, below.key_pem


def uri_constraint(host: str) -> x509.NameConstraints:
    return x509.NameConstraints(permitted_subtrees=[x509.UniformResourceIdentifier(host)], excluded_subtrees=None)


def pem_of_edwards() -> tuple[str, str]:
    from cryptography.hazmat.primitives import serialization

    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "edwards")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem(made), secret.decode()


@pytest.mark.parametrize("case", broken_roots().items(), ids=lambda case: case[0])
def test_what_cannot_be_a_root_is_told_and_changes_nothing(tmp_path: Path, case) -> None:
    """In words that name the file and the certificate, and never the key."""
    _, (tls_crt, tls_key, ca_crt, words) = case
    store = open_store(tmp_path)
    before = store.bundle

    with pytest.raises(MeshpassError, match=words) as error:
        store.use(tls_crt, tls_key, ca_crt)

    assert store.bundle is before
    assert open_store(tmp_path).bundle == before
    assert error.value.hint
    body = "".join(tls_key.splitlines()[1:-1]) or "no key at all"
    assert body not in "".join(str(error.value).split())


def test_name_constraints_that_allow_the_trust_domain_are_no_obstacle(tmp_path: Path) -> None:
    """Those on URIs are about the host of the SPIFFE ID; those on other names are about other names."""
    for host in (DOMAIN, ".local"):
        ca = make_ca(constraints=uri_constraint(host))
        assert open_store(tmp_path / host).use(ca.pem, ca.key_pem)
    ca = make_ca(
        constraints=x509.NameConstraints(permitted_subtrees=[x509.DNSName("example.com")], excluded_subtrees=None)
    )
    assert open_store(tmp_path / "dns").use(ca.pem, ca.key_pem)


def test_a_root_of_the_user_is_not_rotated_here(tmp_path: Path) -> None:
    """That would put ours in its place."""
    ca = make_ca()
    store = open_store(tmp_path)
    store.use(ca.pem, ca.key_pem)

    with pytest.raises(MeshpassError, match="user's own") as error:
        store.rotate()

    assert "meshpass-root-ca" in str(error.value.hint)


def test_one_rotation_at_a_time(tmp_path: Path) -> None:
    """The second is refused, in words of where the first one is."""
    store = open_store(tmp_path)
    sign(store)
    store.rotate()

    with pytest.raises(MeshpassError, match="trust-both"):
        store.rotate()


def state(cluster: str, store: RootStore, *late: str) -> IntermediateState:
    return IntermediateState(cluster=cluster, trusts=store.bundle.trusts, issuer=store.bundle.signing, late=tuple(late))


async def step(store: RootStore) -> Phase:
    await store._step()
    return store.bundle.phase


async def test_a_rotation_waits_for_everyone_in_each_phase(tmp_path: Path) -> None:
    """For every proxy of every process, by name; a process of which nothing is known is waited for itself."""
    store = open_store(tmp_path)
    sign(store, "cluster1")
    sign(store, "cluster2")
    both = frozenset({"cluster1", "cluster2"})
    old = store.bundle.signing
    store.rotate()
    assert await step(store) is Phase.TRUST_BOTH, "nothing is known of anybody"

    store.observe({"cluster1": state("cluster1", store, "a", "b")}, both)
    assert store.late == (Late(cluster="cluster1", nodes=("a", "b")), Late(cluster="cluster2"))
    assert await step(store) is Phase.TRUST_BOTH

    for phase in (Phase.SIGN_NEW, Phase.DROP_OLD, Phase.STEADY):
        store.observe({"cluster1": state("cluster1", store)}, both)
        assert store.late == (Late(cluster="cluster2"),)
        store.observe({name: state(name, store) for name in both}, both)
        assert await step(store) is phase

    assert store.late == ()
    assert old not in store.bundle.trusts
    assert len(store.bundle.trusts) == 1


async def test_the_old_key_is_gone_when_the_new_one_signs(tmp_path: Path) -> None:
    """What never signs again is nothing to lose."""
    store = open_store(tmp_path)
    sign(store)
    store.rotate()
    assert stored_keys(tmp_path) == 2

    store.observe({"cluster1": state("cluster1", store)}, frozenset({"cluster1"}))

    assert await step(store) is Phase.SIGN_NEW
    assert stored_keys(tmp_path) == 1


async def test_a_cluster_that_left_is_not_waited_for(tmp_path: Path) -> None:
    """Nor one that never got anything."""
    store = open_store(tmp_path)
    sign(store, "gone")
    store.rotate()

    store.observe({}, frozenset({"new"}))

    assert store.late == ()
    assert await step(store) is Phase.SIGN_NEW


async def test_a_given_root_is_rotated_to_and_the_next_one_queues(tmp_path: Path) -> None:
    """A rotation that has begun goes on to its end, also after a restart; then the latest of those given is next."""
    store = open_store(tmp_path)
    sign(store)
    first, second, third = (make_ca(name) for name in ("first", "second", "third"))
    assert store.use(first.pem, first.key_pem)
    assert store.use(second.pem, second.key_pem)
    assert store.use(third.pem, third.key_pem)
    assert not store.use(third.pem, third.key_pem)

    signing = []
    for _ in range(20):
        store = open_store(tmp_path)
        store.observe({"cluster1": state("cluster1", store)}, frozenset({"cluster1"}))
        await step(store)
        if store.bundle.phase is Phase.STEADY:
            signing.append(store.bundle.signing)

    assert list(dict.fromkeys(signing)) == [fingerprint(first.certificate), fingerprint(third.certificate)]
    assert store.bundle.roots == third.pem
    assert stored_keys(tmp_path) == 1


async def test_a_root_of_our_own_that_comes_to_its_end_is_rotated(tmp_path: Path) -> None:
    """A year before, so that no intermediate is cut short."""
    sign(open_store(tmp_path))
    early = open_store(tmp_path, START + timedelta(days=3652 - 366))
    assert await step(early) is Phase.STEADY

    assert await step(open_store(tmp_path, START + timedelta(days=3652 - 364))) is Phase.TRUST_BOTH


async def test_another_authority_under_the_same_root_takes_over(tmp_path: Path) -> None:
    """Whoever shows the one before is waited for; who is believed does not change."""
    root = make_ca("root")
    one, other = (make_ca(name, signed_by=root) for name in ("one", "other"))
    store = open_store(tmp_path)
    store.use(one.pem + root.pem, one.key_pem)
    sign(store)
    store.use(other.pem + root.pem, other.key_pem)
    before = state("cluster1", store)
    store.observe({"cluster1": before}, frozenset({"cluster1"}))

    assert await step(store) is Phase.SIGN_NEW
    assert store.bundle.signing == fingerprint(other.certificate)
    assert await step(store) is Phase.SIGN_NEW
    assert store.late == (Late(cluster="cluster1"),)
    assert store.bundle.trusts == before.trusts


def test_keys_are_in_no_representation_and_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is printed."""
    with caplog.at_level(logging.DEBUG):
        store = open_store(tmp_path)
        sign(store)
        store.rotate()
    stored = json.loads((tmp_path / "identity" / "roots.json").read_text())

    shown = repr(store._file) + repr(store._file.load_authority(store.bundle.signing)) + repr(store.bundle)
    shown += "".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)

    assert "PRIVATE KEY" not in shown
    for one in stored["authorities"].values():
        assert one["privateKey"].splitlines()[1] not in shown


def test_a_disk_that_takes_nothing_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not on disk is seen by nobody."""
    store = open_store(tmp_path)
    sign(store)
    before = store.bundle

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("meshpass.identity.rootfile.write_secret_file", full)
    with pytest.raises(MeshpassError, match="No space"):
        store.rotate()

    assert store.bundle is before
    with pytest.raises(MeshpassError, match="No space"):
        sign(store, "cluster2")
