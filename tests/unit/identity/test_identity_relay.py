"""Credentials of the relay: made, kept, renewed, and whose they are; by real handshakes of TLS."""

from __future__ import annotations

import multiprocessing
import shutil
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.support.identities import START, ManualTime, certificates, make_ca, modes, openssl_verifies, settle

from meshpass.errors import MeshpassError
from meshpass.identity.authority import make_request
from meshpass.identity.profile import generate_key
from meshpass.identity.relay import (
    RelayCredentials,
    agent_cluster,
    ensure_agent_credentials,
    ensure_server_credentials,
    keep_agent_credentials,
    keep_server_credentials,
    sign_agent_credentials,
)

DOMAIN = "cluster.local"
HOSTS = ("127.0.0.1", "localhost")


def contents(credentials: RelayCredentials) -> list[str]:
    return [path.read_text() for path in (credentials.ca, credentials.certificate, credentials.private_key)]


def make_agent(directory: Path, now: datetime = START, cluster: str = "cluster1", domain: str = DOMAIN):
    return ensure_agent_credentials(
        directory / "server", directory / "agents" / cluster, domain, cluster, clock=lambda: now
    )


def make_server(directory: Path, now: datetime = START, hosts=HOSTS):
    return ensure_server_credentials(directory / "server", hosts, clock=lambda: now)


def connect(server: RelayCredentials, client: RelayCredentials, host: str = "localhost") -> str | None:
    """Whom the server sees; None where one refuses the other."""
    ours, theirs = socket.socketpair()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.verify_mode = ssl.CERT_REQUIRED
    asking = ssl.create_default_context(cafile=client.ca)
    for context, credentials in ((serving, server), (asking, client)):
        context.load_cert_chain(credentials.certificate, credentials.private_key)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    serving.load_verify_locations(server.ca)
    seen: list[bytes] = []

    def serve() -> None:
        try:
            with serving.wrap_socket(theirs, server_side=True) as connection:
                seen.append(connection.getpeercert(binary_form=True) or b"")
                connection.sendall(b"x")
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with asking.wrap_socket(ours, server_hostname=host) as connection:
            accepted = connection.recv(1) == b"x"
    except OSError:
        accepted = False
    finally:
        ours.close()
        thread.join()
    return agent_cluster(ssl.DER_cert_to_PEM_cert(seen[0]), DOMAIN) if accepted else None


def test_an_agent_is_known_by_its_certificate(tmp_path: Path) -> None:
    """By mutual TLS, both sides by the relay's own authority; a stranger is refused on either side."""
    now = datetime.now(UTC)
    server, agent = make_server(tmp_path, now), make_agent(tmp_path, now)
    other_server, other_agent = make_server(tmp_path / "x", now), make_agent(tmp_path / "x", now)

    assert connect(server, agent) == "cluster1"
    assert connect(server, agent, "127.0.0.1") == "cluster1"
    assert connect(server, agent, "elsewhere") is None
    assert connect(server, other_agent) is None
    assert connect(other_server, agent) is None
    assert connect(agent, agent) is None, "an agent's certificate is not one of a server"


def test_files_are_private(tmp_path: Path) -> None:
    """The authority is one file, so that its key always fits."""
    make_server(tmp_path)
    make_agent(tmp_path)

    files = dict(modes(tmp_path))
    assert {name for name, mode in files.items() if mode == 0o600} == {"ca.crt", "tls.crt", "tls.key", "relay-ca.pem"}
    assert {name for name, mode in files.items() if mode == 0o700} == {"server", "relay", "cluster1"} | (
        {"agents"} if files["agents"] == 0o700 else set()
    )


def test_an_agents_certificate_names_its_cluster_alone(tmp_path: Path) -> None:
    """One URI, for a client, for a year."""
    (leaf,) = certificates(make_agent(tmp_path).certificate.read_text())

    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [f"spiffe://{DOMAIN}/meshpass/agent/cluster1"]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert leaf.not_valid_after_utc - START == timedelta(days=365)
    assert openssl_verifies(
        tmp_path, contents(make_agent(tmp_path))[1], contents(make_agent(tmp_path))[0], purpose="sslclient"
    )


@pytest.mark.parametrize("make", [make_agent, make_server])
@pytest.mark.parametrize(("days", "kept"), [(0, True), (182, True), (183, False)])
def test_credentials_are_kept_for_half_their_life(tmp_path: Path, make, days: int, kept: bool) -> None:
    """Whoever starts a mesh twice a year has good ones always."""
    before = contents(make(tmp_path))

    after = contents(make(tmp_path, START + timedelta(days=days)))

    assert (after == before) is kept
    assert after[0] == before[0], "the authority is the same"


@pytest.mark.parametrize("damage", ["mode", "key", "certificate", "ca", "missing", "cluster", "domain", "authority"])
def test_credentials_that_are_of_no_use_are_made_anew(tmp_path: Path, damage: str) -> None:
    """Whatever it is that is wrong with them."""
    credentials = make_agent(tmp_path)
    before = contents(credentials)
    stranger = make_ca()
    again = {}
    match damage:
        case "mode":
            credentials.private_key.chmod(0o644)
        case "key":
            credentials.private_key.write_text(stranger.key_pem)
        case "certificate":
            credentials.certificate.write_text(stranger.pem)
        case "ca":
            credentials.ca.write_text(stranger.pem)
        case "missing":
            credentials.certificate.unlink()
        case "cluster":
            shutil.copytree(tmp_path / "agents" / "cluster1", tmp_path / "agents" / "cluster2")
            again = {"cluster": "cluster2"}
        case "domain":
            again = {"domain": "other"}
        case "authority":
            (tmp_path / "server" / "relay-ca.pem").unlink()

    after = contents(make_agent(tmp_path, **again))

    assert after[1:] != before[1:]
    assert contents(make_agent(tmp_path, **again)) == after
    assert openssl_verifies(tmp_path, after[1], after[0], purpose="sslclient")


def test_a_server_that_is_reached_by_another_name_gets_another_certificate(tmp_path: Path) -> None:
    """It covers all that it was asked for last."""
    before = contents(make_server(tmp_path))
    assert contents(make_server(tmp_path, hosts=HOSTS[:1])) == before
    assert contents(make_server(tmp_path, hosts=(*HOSTS, "mgmt.example.com"))) != before


@pytest.mark.parametrize("damage", ["mode", "text", "empty"])
def test_a_damaged_authority_is_an_error(tmp_path: Path, damage: str) -> None:
    """It is not replaced unseen: all agents would be locked out."""
    make_agent(tmp_path)
    path = tmp_path / "server" / "relay-ca.pem"
    match damage:
        case "mode":
            path.chmod(0o604)
        case "text":
            path.write_text(path.read_text()[:-100])
        case "empty":
            path.write_text("")

    with pytest.raises(MeshpassError) as error:
        make_agent(tmp_path)
    assert error.value.hint


def test_processes_that_start_at_once_share_one_authority(tmp_path: Path) -> None:
    """Whoever is first makes it; nothing else is left behind."""
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=make_agent, args=(tmp_path, START, f"cluster{index}")) for index in range(6)]
    for one in started:
        one.start()
    for one in started:
        one.join(30)
        assert one.exitcode == 0

    authorities = {(tmp_path / "agents" / f"cluster{index}" / "ca.crt").read_text() for index in range(6)}
    assert len(authorities) == 1
    assert [path.name for path in (tmp_path / "server").iterdir()] == ["relay-ca.pem"]


@pytest.mark.parametrize(
    ("names", "cluster"),
    [
        (["spiffe://cluster.local/meshpass/agent/cluster1"], "cluster1"),
        (["spiffe://cluster.local/meshpass/agent/"], None),
        (["spiffe://cluster.local/meshpass/agent/a/b"], None),
        (["spiffe://cluster.local/meshpass/agent"], None),
        (["spiffe://other/meshpass/agent/cluster1"], None),
        (["spiffe://cluster.local/ns/meshpass/agent/cluster1"], None),
        (["spiffe://cluster.local/meshpass/agent/a", "spiffe://cluster.local/meshpass/agent/b"], None),
        ([], None),
    ],
)
def test_whose_names_they_are(names: list[str], cluster: str | None) -> None:
    """One name, of this trust domain, of one cluster."""
    assert agent_cluster(names, DOMAIN) == cluster


@pytest.mark.parametrize("peer", ["", b"", b"\xff", "hello", make_ca().pem])
def test_what_is_no_certificate_of_an_agent_is_nobody(peer: str | bytes) -> None:
    """Whatever a client shows."""
    assert agent_cluster(peer, DOMAIN) is None


async def test_an_agent_renews_its_certificate_at_half_its_life(tmp_path: Path) -> None:
    """With the same key, so that one file changes; a failure is tried again an hour later."""
    credentials, time = make_agent(tmp_path), ManualTime()
    before = contents(credentials)
    answers: list[Exception | str] = [ConnectionError("cut"), "somebody else", ""]

    async def sign(csr: str) -> str:
        match answers.pop(0) if len(answers) else "":
            case Exception() as error:
                raise error
            case "somebody else":
                return sign_agent_credentials(tmp_path / "server", csr, DOMAIN, "cluster2", clock=time.clock)
            case _:
                return sign_agent_credentials(tmp_path / "server", csr, DOMAIN, "cluster1", clock=time.clock)

    import asyncio

    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(keep_agent_credentials(credentials, sign, clock=time.clock, sleep=time.sleep))
        await settle()
        await time.jump(days=182)
        assert contents(credentials) == before
        await time.advance(hours=24 + 2)
        keeping.cancel()

    after = contents(credentials)
    assert answers == []
    assert (after[0], after[2]) == (before[0], before[2])
    (leaf,) = certificates(after[1])
    assert leaf.not_valid_after_utc > START + timedelta(days=540)
    assert openssl_verifies(tmp_path, after[1], after[0], at=START + timedelta(days=500), purpose="sslclient")


async def test_a_server_renews_its_certificate_at_half_its_life(tmp_path: Path) -> None:
    """While it runs; agents believe the same authority before and after."""
    import asyncio

    credentials, time = make_server(tmp_path), ManualTime()
    before = contents(credentials)
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(
            keep_server_credentials(tmp_path / "server", HOSTS, clock=time.clock, sleep=time.sleep)
        )
        await settle()
        await time.jump(days=182)
        assert contents(credentials) == before
        await time.advance(hours=26)
        keeping.cancel()

    after = contents(credentials)
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_request_that_is_none_is_refused(tmp_path: Path) -> None:
    """And a good one gives nothing but the cluster's own name."""
    make_agent(tmp_path)
    with pytest.raises(MeshpassError):
        sign_agent_credentials(tmp_path / "server", "hello", DOMAIN, "cluster1")

    signed = sign_agent_credentials(tmp_path / "server", make_request(generate_key()), DOMAIN, "cluster1")
    assert agent_cluster(signed, DOMAIN) == "cluster1"
