"""Peers: server names, who may answer, and what a translation says of identities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.gateway_objects import pod as gateway_pod
from tests.support.objects import BASE, CLIENT, SERVER, build_snapshots, object_set, read_objects, translate_objects

from meshpass.api.core import Pod, Service
from meshpass.api.objectset import ObjectKey
from meshpass.envoy.snapshot import CLUSTER, SECRET
from meshpass.ir import (
    CALLERS,
    WORKLOAD_IDENTITY,
    Backend,
    InboundListener,
    MutualTlsMode,
    Proxy,
    TlsCertificate,
    TrustedAuthorities,
)
from meshpass.memo import Memo
from meshpass.translate import Translation
from meshpass.translate.identity import Identities, WorkloadCertificate, control_plane_id, spiffe_id
from meshpass.translate.keysource import KeyPeer
from meshpass.translate.peer import find_accepting, mode_of, peer_name
from meshpass.translate.sidecar import find_sidecars

DOMAIN = "mesh.example"
DEFAULT = spiffe_id(DOMAIN, "httpbin", "default")
IDENTITIES = Identities(
    trust_domain=DOMAIN, authorities="roots", certificates={DEFAULT: WorkloadCertificate("chain", "key")}
)
BACKEND = "cluster1/httpbin/httpbin:8000"
PEERS = "peers/Service/cluster1/httpbin/httpbin"


def sidecar(name: str, account: str = "", app: str = "httpbin", ip: str = "127.0.1.9", **status: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "httpbin", "labels": {"app": app}}
    metadata["annotations"] = {"meshpass.dev/proxy": "sidecar"}
    spec = {"serviceAccountName": account} if account else {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"podIP": ip, **status}}


def run(*manifests: dict[str, Any], identities: Identities = IDENTITIES, memo: Memo | None = None) -> Translation:
    return translate_objects(object_set(BASE, *manifests), memo, identities=identities)


def backend(proxy: Proxy, name: str = BACKEND) -> Backend:
    return next(one for one in proxy.backends if one.name == name)


def trusted(proxy: Proxy, name: str) -> TrustedAuthorities:
    found = next(secret for secret in proxy.secrets if secret.name == name)
    assert isinstance(found, TrustedAuthorities)
    return found


@pytest.mark.parametrize(
    ("key", "subset", "expected"),
    [
        (("Service", "cluster1", "ns", "a"), (), "80.a.ns.cluster1.svc.meshpass.internal"),
        (("VirtualDestination", "c", "ns", "a"), (), "80.a.ns.c.vd.meshpass.internal"),
    ],
)
def test_server_names(key: tuple[str, str, str, str], subset: tuple[tuple[str, str], ...], expected: str) -> None:
    """They say port, name, namespace, cluster and kind."""
    assert peer_name(ObjectKey(*key), 80, subset) == expected


def test_no_two_destinations_have_one_server_name() -> None:
    """Whatever they are called: dots, which names of VirtualDestinations and clusters may have, join nothing."""
    long = "a" * 253
    names = {
        peer_name(ObjectKey("VirtualDestination", cluster, namespace, name), port, subset)
        for cluster, namespace, name in (
            ("c.d", "b", "a"),
            ("d", "c", "a.b"),
            ("d", "b.c", "a"),
            (long, long[:63], long),
            (long, long[:63], long + "b"),
        )
        for port in (80, 65535)
        for subset in ((), (("version", "v1"),), (("version", "v2"),))
    }

    assert len(names) == 5 * 2 * 3
    assert all(len(name) <= 253 and all(len(label) <= 63 for label in name.split(".")) for name in names)


def test_without_identities_nothing_is_said_of_them() -> None:
    """No secret, no peer, no address to begin at; nobody is to be issued a certificate."""
    translation = translate_objects(object_set(BASE))

    assert translation.identities == frozenset()
    for proxy in translation.proxies.values():
        assert proxy.secrets == ()
        assert not any(one.peer or one.anywhere for one in (*proxy.backends, *proxy.application))


def test_every_proxy_that_is_served_has_an_identity_to_be_issued() -> None:
    """Sidecars and gateways, each once; pods without a proxy need none."""
    bare = sidecar("bare", "bare")
    bare["metadata"]["annotations"] = {}
    edge = gateway_pod() | {"spec": {"serviceAccountName": "edge"}}
    found = run(sidecar("other", "other"), bare, edge).identities

    assert found == {DEFAULT, spiffe_id(DOMAIN, "httpbin", "other"), spiffe_id(DOMAIN, "httpbin", "edge")}


def test_a_proxy_has_what_it_names_and_nothing_else() -> None:
    """A secret that nothing names would never be acknowledged; one that is named and not there would be waited for."""
    translation = run()

    assert [secret.name for secret in translation.proxies[CLIENT].secrets] == [PEERS, WORKLOAD_IDENTITY]
    assert [secret.name for secret in translation.proxies[SERVER].secrets] == [CALLERS, PEERS, WORKLOAD_IDENTITY]
    assert trusted(translation.proxies[SERVER], CALLERS).identities == (f"spiffe://{DOMAIN}/",)
    certificate = translation.proxies[CLIENT].secrets[-1]
    assert certificate == TlsCertificate(name=WORKLOAD_IDENTITY, chain="chain", private_key="key")
    assert "key" not in repr(certificate).replace("private_key", "")


def test_a_certificate_that_is_not_there_is_left_out_and_wanted() -> None:
    """What names it still names it: nothing falls back to plain text."""
    translation = run(identities=replace(IDENTITIES, certificates={}))
    proxy = translation.proxies[SERVER]

    assert translation.identities == {DEFAULT}
    assert [secret.name for secret in proxy.secrets] == [CALLERS, PEERS]
    assert backend(proxy).peer is not None
    modes = [one.mutual_tls for one in proxy.listeners if isinstance(one, InboundListener)]
    assert modes == [MutualTlsMode.PERMISSIVE]


def test_a_service_is_answered_by_the_accounts_of_all_its_sidecars() -> None:
    """Also of those that are not ready yet; not of pods that it does not select, or that have ended."""
    translation = run(
        sidecar("second", "second"),
        sidecar("other", "other", app="other", ip="127.0.1.10"),
        sidecar("ended", "ended", ip="127.0.1.11", phase="Failed"),
    )

    names = trusted(translation.proxies[CLIENT], PEERS).identities
    assert names == (DEFAULT, spiffe_id(DOMAIN, "httpbin", "second"))


def test_accounts_and_certificates_change_neither_clusters_nor_other_secrets() -> None:
    """An edit of who runs there, and a renewal, are one resource each."""
    memo = Memo()
    objects = object_set(BASE)
    before = build_snapshots(translate_objects(objects, memo, identities=IDENTITIES), memo)[CLIENT]
    objects = objects.with_changes(read_objects(sidecar("second", "second")))
    renewed = replace(IDENTITIES, certificates={DEFAULT: WorkloadCertificate("new", "new")})
    for identities, changed in ((IDENTITIES, {PEERS}), (renewed, {PEERS, WORKLOAD_IDENTITY})):
        after = build_snapshots(translate_objects(objects, memo, identities=identities), memo)[CLIENT]
        old, new = before.of(SECRET), after.of(SECRET)
        assert {name for name in new if new[name].version != old[name].version} == changed
        assert {name: one.version for name, one in after.of(CLUSTER).items()} == {
            name: one.version for name, one in before.of(CLUSTER).items()
        }


def test_new_roots_are_in_every_secret_that_trusts() -> None:
    """And in nothing else."""
    memo = Memo()
    translation = run(identities=replace(IDENTITIES, authorities="both"), memo=memo)

    for proxy in translation.proxies.values():
        assert {one.certificates for one in proxy.secrets if isinstance(one, TrustedAuthorities)} == {"both"}


def test_a_port_of_a_sidecar_takes_mutual_tls_unless_its_mode_says_otherwise() -> None:
    """By address, whatever version of IP."""
    objects = object_set(BASE, sidecar("six", ip="FD00:0::1"))
    found = find_sidecars(objects.all(Pod), objects.all(Service))
    (listener,) = (
        one for side in found if side.node == SERVER for one in side.listeners if isinstance(one, InboundListener)
    )
    disabled = {listener.selection_class: MutualTlsMode.DISABLE}

    assert find_accepting(found, {}) == {("cluster1", "127.0.1.1", 8080), ("cluster1", "fd00::1", 8080)}
    assert find_accepting(found, disabled) == {("cluster1", "fd00::1", 8080)}
    assert mode_of("any", {}) is MutualTlsMode.PERMISSIVE


def keys_of(destination: dict[str, Any]) -> dict[str, Any]:
    """A policy whose keys come from a destination."""
    remote = {"url": "http://issuer.example.com/keys", "destinationRef": destination}
    return {
        "apiVersion": "security.policy.gloo.solo.io/v2",
        "kind": "JWTPolicy",
        "metadata": {"name": "with-remote-keys", "namespace": "httpbin"},
        "spec": {"config": {"providers": {"dev": {"issuer": "https://dev.example.com", "remote": remote}}}},
    }


def test_key_sets_of_the_mesh_are_fetched_from_its_workloads_by_the_control_plane() -> None:
    """It has a name of its own then, and says whom it expects; without identities it asks as anybody does."""
    policy = keys_of({"ref": {"name": "httpbin"}, "port": {"number": 8000}})
    translation = run(policy)
    (fetch,) = translation.key_sources.values()

    assert fetch.peer == KeyPeer("8000.httpbin.httpbin.cluster1.svc.meshpass.internal", (DEFAULT,))
    assert [one.mutual_tls for one in fetch.endpoints or ()] == [True]
    assert translation.identities == {DEFAULT, control_plane_id(DOMAIN)}

    (plain,) = translate_objects(object_set(BASE, policy)).key_sources.values()
    assert plain.peer is None
    assert [one.mutual_tls for one in plain.endpoints or ()] == [False]


def test_key_sets_from_elsewhere_need_no_identity() -> None:
    """Who has no proxy of the mesh in front of it is asked in the words of its URL."""
    policy = keys_of({"kind": "EXTERNAL_SERVICE", "ref": {"name": "issuer"}, "port": {"number": 80}})
    issuer = {
        "apiVersion": "networking.gloo.solo.io/v2",
        "kind": "ExternalService",
        "metadata": {"name": "issuer", "namespace": "httpbin"},
        "spec": {"hosts": ["issuer.example.com"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]},
    }
    translation = run(policy, issuer)

    (fetch,) = translation.key_sources.values()
    assert fetch.peer is None
    assert translation.identities == {DEFAULT}
