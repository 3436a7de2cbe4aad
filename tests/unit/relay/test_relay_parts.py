"""The small parts of the relay: names, back-off, states of proxies, facts, connections, peers."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.api.admin import KubernetesCluster, KubernetesClusterSpec
from meshpass.api.metadata import ObjectMeta
from meshpass.api.objectset import ObjectKey
from meshpass.errors import XdsProtocolError
from meshpass.identity.relay import ensure_agent_credentials, ensure_server_credentials
from meshpass.ir import ObjectRef
from meshpass.kube.objectlog import ObjectLog
from meshpass.relay.backoff import LIMIT_SECONDS, REFUSED_LIMIT_SECONDS, FullJitter
from meshpass.relay.facts import MAX_FACT_BYTES, Facts
from meshpass.relay.nodestate import decode_state, encode_state, place_of_node
from meshpass.relay.peer import read_peer
from meshpass.relay.registration import find_awaited, find_registered
from meshpass.relay.resource import digest, object_name, parse_object_name
from meshpass.relay.signing import SignPurpose, SignRequest, decode_sign_request, encode_sign_request
from meshpass.xds.cache import Rejection
from meshpass.xds.remote import RemoteState, RemoteStates

TEXT = st.text(max_size=8)


def test_delays_double_up_to_a_limit_and_begin_again() -> None:
    """With full jitter: anything from nothing to the bound."""
    backoff = FullJitter(lambda: 0.5)
    delays = [backoff.next_delay() for _ in range(12)]

    assert delays[:4] == [0.05, 0.1, 0.2, 0.4]
    assert delays[-1] == LIMIT_SECONDS / 2
    assert backoff.next_delay(refused=True) == REFUSED_LIMIT_SECONDS / 2
    backoff.reset()
    assert backoff.next_delay() == 0.05
    assert FullJitter(lambda: 0.0).next_delay() == 0.0


@given(
    st.booleans(),
    st.dictionaries(TEXT, TEXT, max_size=3),
    st.lists(
        st.builds(
            Rejection,
            type_url=TEXT,
            names=st.tuples(TEXT),
            versions=st.tuples(TEXT),
            message=TEXT,
            sources=st.frozensets(st.builds(ObjectRef, TEXT, TEXT, TEXT, TEXT), max_size=2),
        ),
        max_size=2,
    ),
)
def test_a_state_is_read_as_it_was_written(in_sync: bool, inputs: dict[str, str], rejections: list[Rejection]) -> None:
    """Whatever its text is."""
    state = RemoteState(in_sync=in_sync, inputs=inputs, rejections=tuple(rejections))

    assert decode_state(encode_state(state)) == state


@given(st.binary(max_size=40))
def test_other_bytes_are_no_state(body: bytes) -> None:
    """The error is one of words."""
    with pytest.raises(XdsProtocolError):
        decode_state(body)


@pytest.mark.parametrize(
    ("node", "place"),
    [("sidecar~c~n~p", ("c", "n")), ("gateway~c~n~p", ("c", "n")), ("x", ("", "")), ("a~b~c~d~e", ("", ""))],
)
def test_the_place_of_a_proxy(node: str, place: tuple[str, str]) -> None:
    """As its id says."""
    assert place_of_node(node) == place


@pytest.mark.parametrize("key", [ObjectKey("Service", "c", "n", "a"), ObjectKey("Namespace", "c", "", "a")])
def test_a_name_of_an_object_is_read_as_it_was_written(key: ObjectKey) -> None:
    """Also where there is no namespace."""
    assert parse_object_name(key.kind, object_name(key)) == key


@pytest.mark.parametrize("name", ["", "a", "a/b", "/b/c", "a/b/", "a/b/c/d"])
def test_what_is_no_name_of_an_object(name: str) -> None:
    """Nothing is made up."""
    with pytest.raises(XdsProtocolError):
        parse_object_name("Service", name)


TRIPLES = st.tuples(TEXT, TEXT, TEXT)


@given(st.sets(TRIPLES, max_size=5), st.sets(TRIPLES, max_size=5))
def test_a_digest_follows_its_parts(one: set[tuple[str, str, str]], other: set[tuple[str, str, str]]) -> None:
    """What comes and goes is told from the number alone, in any order."""
    assert digest(one) ^ digest(one ^ other) == digest(other)


def test_who_may_have_an_agent() -> None:
    """Clusters that the management cluster registers, whatever others say; itself not."""

    def cluster(of: str, name: str, *, skip: bool = False) -> tuple[ObjectKey, KubernetesCluster]:
        spec = KubernetesClusterSpec(skip_warming=skip)
        found = KubernetesCluster(metadata=ObjectMeta(name=name), spec=spec)
        return ObjectKey("KubernetesCluster", of, "gloo-mesh", name), found

    clusters = dict(
        [cluster("mgmt", "a"), cluster("mgmt", "b", skip=True), cluster("mgmt", "mgmt"), cluster("a", "evil")]
    )
    assert find_registered(clusters, "mgmt") == {"a", "b"}
    assert find_awaited(clusters, "mgmt") == {"a"}


def test_requests_for_certificates() -> None:
    """A purpose and a request, and nothing else."""
    request = SignRequest(purpose=SignPurpose.CREDENTIALS, csr="pem")

    assert decode_sign_request(encode_sign_request(request)) == request
    for body in (b"", b"{}", b'{"purpose":"root","csr":"x"}', b'{"purpose":"intermediate","csr":"x","cluster":"y"}'):
        with pytest.raises(XdsProtocolError):
            decode_sign_request(body)


def test_a_peer_is_who_its_certificate_says(tmp_path: Path) -> None:
    """Of this trust domain, with one name; a server is no agent."""
    agent = ensure_agent_credentials(tmp_path, tmp_path / "agent", "mesh.example.com", "cluster1")
    server = ensure_server_credentials(tmp_path, ["localhost"])
    shown = agent.certificate.read_bytes()
    peer = read_peer({"x509_pem_cert": [shown]}, "mesh.example.com")

    assert peer is not None
    assert peer.cluster == "cluster1"
    assert peer.expires > datetime.now(UTC).timestamp() + 24 * 3600
    assert read_peer({"x509_pem_cert": [shown]}, "other.example.com") is None
    assert read_peer({"x509_pem_cert": [server.certificate.read_bytes()]}, "mesh.example.com") is None
    assert read_peer({"x509_pem_cert": [b"garbage"]}, "mesh.example.com") is None
    assert read_peer({}, "mesh.example.com") is None


async def test_facts_outlive_the_process(tmp_path: Path) -> None:
    """What was told; what we tell is ours to tell again."""
    with closing(ObjectLog(tmp_path / "objects.db")) as log:
        facts = Facts(log)
        facts.publish("own", b"1")
        facts.receive("mgmt", {"a": b"1", "b": b"2"}, frozenset())
        facts.receive("mgmt", {"a": b"3"}, frozenset({"b"}))
        again = Facts(log, log.load().facts)

        assert again.received == {"mgmt": {"a": b"3"}}
        assert again.own == {}
        facts.forget("mgmt")
        assert log.load().facts == {}
    with pytest.raises(ValueError, match="more than"):
        facts.publish("big", b"x" * (MAX_FACT_BYTES + 1))


async def test_a_change_of_facts_or_states_wakes_who_waits_and_no_change_does_not() -> None:
    """Revisions count changes."""
    facts, states = Facts(), RemoteStates()
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(one.wait_changed(0)) for one in (facts, states)]
        await asyncio.sleep(0)
        facts.withdraw("none")
        facts.receive("mgmt", {}, frozenset())
        states.remove("none")
        await asyncio.sleep(0)
        assert not any(one.done() for one in waiting)
        facts.publish("a", b"1")
        states.set("node", RemoteState(in_sync=True))

    facts.publish("a", b"1")
    states.set("node", RemoteState(in_sync=True))
    assert (facts.revision, states.revision) == (1, 1)
