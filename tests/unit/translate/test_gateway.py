"""Gateways: which pods are gateways, which VirtualGateways open what on them, and who wins a port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.support.gateway_objects import (
    CERTIFICATE,
    HTTP,
    NODE,
    PRIVATE_KEY,
    make_pair,
    pod,
    secret,
    service,
    tls,
    virtual_gateway,
)
from tests.support.objects import BASE, object_set, read_objects

from meshpass.api.admin import KubernetesCluster, Workspace
from meshpass.api.core import Namespace, Pod, Secret, Service
from meshpass.api.external import ExternalService
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.ir import DownstreamTls, TlsCertificate, TlsVersion, TrustedAuthorities
from meshpass.memo import Memo
from meshpass.translate.filecontent import FileContent
from meshpass.translate.filecredential import find_file_credentials, read_file_credentials
from meshpass.translate.finding import Reason, Severity
from meshpass.translate.gateway import Gateway, Gateways, find_gateways
from meshpass.translate.gatewayserver import ServerKind
from meshpass.translate.workspace import index_workspaces


def find(*manifests: dict[str, Any], memo: Memo | None = None, files: Mapping[str, str] | None = None) -> Gateways:
    return find_in(object_set(BASE, pod(), service(), *manifests), memo or Memo(), files)


def find_in(objects: ObjectSet, memo: Memo, files: Mapping[str, str] | None = None) -> Gateways:
    workspaces = memo(
        index_workspaces, objects.all(Workspace), objects.all(KubernetesCluster), objects.all(Namespace), "mgmt"
    )
    contents = {path: FileContent(text=text) for path, text in (files or {}).items()}
    wanted = memo(find_file_credentials, objects.all(ExternalService), objects.all(VirtualGateway), workspaces)
    return find_gateways(
        objects.all(VirtualGateway),
        objects.all(Pod),
        objects.all(Service),
        objects.all(Secret),
        read_file_credentials(wanted, contents, memo),
        workspaces,
        objects.problems,
        memo,
    )


def only(gateways: Gateways) -> Gateway:
    (gateway,) = gateways.gateways
    return gateway


def key_of_gateway(name: str = "gateway") -> ObjectKey:
    return ObjectKey("VirtualGateway", "cluster1", "httpbin", name)


def said(gateways: Gateways, name: str = "gateway") -> list[tuple[str, Severity, Reason]]:
    return [(one.path, one.severity, one.reason) for one in gateways.findings[key_of_gateway(name)]]


def test_every_pod_that_says_so_is_a_gateway() -> None:
    """Also one without listeners; a sidecar is none, nor a pod without an address."""
    found = find(pod("other"), pod("side", proxy="sidecar"), pod("pending", ip=""))

    assert [(one.node, one.ports) for one in found.gateways] == [(NODE, ()), ("gateway~cluster1~httpbin~other", ())]


def test_a_listener_opens_the_port_of_the_pod_behind_that_of_the_service() -> None:
    """By number, by name, and by the name of a container's port."""
    by_name = {"port": {"name": "https"}, "tcp": {}}
    found = only(find(virtual_gateway(HTTP, by_name, {"port": {"number": 444}, "tcp": {}})))

    assert [(port.number, port.port) for port in found.ports] == [(80, 8080), (443, 8443), (444, 8444)]
    assert [server.kind for port in found.ports for server in port.servers] == [
        ServerKind.HTTP,
        ServerKind.TCP,
        ServerKind.TCP,
    ]


@pytest.mark.parametrize("port", [{"number": 81}, {"name": "nope"}, {"number": 53}])
def test_a_port_that_no_service_has_is_told_with_its_path(port: dict[str, Any]) -> None:
    """With the ports that there are; ports that are not TCP are none."""
    found = find(virtual_gateway(HTTP, {"port": port, "http": {}}))

    assert said(found) == [("spec.listeners[1].port", Severity.WARNING, Reason.TARGET_NOT_FOUND)]
    assert "80 (http2), 443 (https)" in found.findings[key_of_gateway()][0].message


@pytest.mark.parametrize(
    ("workloads", "selected"),
    [
        pytest.param([], True, id="unset"),
        pytest.param([{}], True, id="empty"),
        pytest.param([{"selector": {}}], True, id="empty-selector"),
        pytest.param([{"selector": {"labels": {"istio": "ingressgateway"}}}], True, id="label"),
        pytest.param([{"selector": {"labels": {"istio": "other"}}}], False, id="other-label"),
        pytest.param([{"selector": {"labels": {"pod": "label"}}}], False, id="label-of-the-pod-alone"),
        pytest.param([{"selector": {"name": "ingress"}}], True, id="name-of-the-service"),
        pytest.param([{"selector": {"name": "edge"}}], False, id="name-of-the-pod"),
        pytest.param([{"selector": {"cluster": "cluster2"}}], False, id="other-cluster"),
        pytest.param([{"selector": {"cluster": "cluster1", "namespace": "httpbin"}}], True, id="place"),
        pytest.param([{"selector": {"workspace": "other"}}], False, id="other-workspace"),
        pytest.param([{"selector": {"name": "no"}}, {"selector": {"name": "ingress"}}], True, id="any-of-them"),
        pytest.param([{"kind": "VM"}], False, id="virtual-machine"),
        pytest.param([{"port": {"number": 80}}], False, id="port"),
    ],
)
def test_workloads_are_selected_by_the_service_in_front(workloads: list[dict[str, Any]], selected: bool) -> None:
    """Its name, and the labels that it selects pods by."""
    labelled = pod("edge", istio="ingressgateway", pod="label")
    found = find(labelled, virtual_gateway(workloads=workloads))

    assert found.workloads[key_of_gateway()] == ((NODE,) if selected else ())
    assert bool(only(found).ports) is selected
    if not selected:
        assert (Severity.WARNING, Reason.TARGET_NOT_FOUND) in [one[1:] for one in said(found)]


def test_a_virtual_gateway_in_the_management_cluster_selects_gateways_of_all_clusters() -> None:
    """Those of its workspace."""
    one = virtual_gateway()
    one["metadata"]["annotations"] = {"golden.meshpass.dev/cluster": "mgmt"}

    assert [port.number for port in only(find(one)).ports] == [80]


def test_a_manifest_that_could_not_be_read_opens_nothing() -> None:
    """Without what is lost, a listener might let in more than was written."""
    allowed = [{"host": "a.example.com", "selectr": {}}]
    found = find(virtual_gateway(HTTP | {"allowedRouteTables": allowed}))

    assert only(found).ports == ()


@pytest.mark.parametrize(
    ("listener", "path"),
    [
        pytest.param({"http": {}, "port": {}}, "port", id="no-port"),
        pytest.param({"tcp": {}, "httpsRedirect": True}, "httpsRedirect", id="redirect-of-tcp"),
        pytest.param({"http": {}, "appProtocol": "TCP"}, "appProtocol", id="http-that-is-tcp"),
        pytest.param({"tcp": {}, "appProtocol": "HTTP"}, "appProtocol", id="tcp-that-is-http"),
        pytest.param({"http": {}, "tls": {}}, "tls.mode", id="http-of-tls-that-passes"),
        pytest.param({"http": {}, "tls": {"mode": "SIMPLE"}}, "tls", id="no-certificate"),
        pytest.param(
            {"http": {}, "tls": {"mode": "SIMPLE", "files": {"serverCert": "/c"}}}, "tls.files.privateKey", id="no-key"
        ),
        pytest.param(
            {"http": {}, "tls": {"mode": "MUTUAL", "files": {"serverCert": "/c", "privateKey": "/k"}}},
            "tls.files.caCerts",
            id="no-authorities",
        ),
        pytest.param(tls(verifySubjectAltName=["x"]), "tls.verifySubjectAltName", id="names-of-nobody"),
        pytest.param(
            tls(parameters={"minimumProtocolVersion": "TLSv1_1"}), "tls.parameters.cipherSuites", id="old-version"
        ),
        pytest.param(
            tls(parameters={"minimumProtocolVersion": "TLSv1_3", "maximumProtocolVersion": "TLSv1_2"}),
            "tls.parameters.minimumProtocolVersion",
            id="no-version",
        ),
        pytest.param(tls(parameters={"cipherSuites": ["NULL"]}), "tls.parameters.cipherSuites", id="no-cipher"),
    ],
)
def test_a_listener_that_is_wrong_is_not_opened(listener: dict[str, Any], path: str) -> None:
    """The finding has the field's path."""
    found = find(virtual_gateway({"port": {"number": 443}, **listener}), secret())

    assert (f"spec.listeners[0].{path}", Severity.INVALID, Reason.INVALID) in said(found)
    assert not any(server.is_open for port in only(found).ports for server in port.servers)


@pytest.mark.parametrize("mode", ["AUTO_PASSTHROUGH", "ISTIO_MUTUAL"])
def test_modes_of_istio_have_no_effect_yet(mode: str) -> None:
    """The listener stays closed, and keeps its port from plain text."""
    found = find(virtual_gateway({"port": {"number": 443}, "tls": {"mode": mode}}, HTTP | {"port": {"number": 443}}))

    (server,) = only(found).ports[0].servers
    assert not server.is_open
    assert "no effect yet: spec.listeners[0].tls.mode" in [one.message for one in found.findings[key_of_gateway()]]
    assert ("spec.listeners[1].port", Severity.WARNING, Reason.CONFLICTED) in said(found)


def test_a_listener_of_https_names_its_certificate() -> None:
    """The Secret is that of the gateway's own namespace; what is in it comes beside."""
    found = only(find(virtual_gateway(tls("www.example.com")), secret()))

    (server,) = found.ports[0].servers
    assert server.names == ("www.example.com",)
    assert server.tls == DownstreamTls(certificate="cluster1/httpbin/certificate")
    assert [type(one) for one in found.secrets] == [TlsCertificate]
    assert PRIVATE_KEY not in repr(found)


def test_parameters_of_tls_come_through() -> None:
    """Versions, and the ciphers that there are; one that is none is told."""
    parameters = {
        "minimumProtocolVersion": "TLSv1_1",
        "maximumProtocolVersion": "TLSv1_2",
        "cipherSuites": ["AES128-SHA", "NOPE", "AES128-SHA"],
    }
    found = find(virtual_gateway(tls(parameters=parameters)), secret())

    (server,) = only(found).ports[0].servers
    assert server.tls is not None
    assert server.tls.minimum_version is TlsVersion.TLS_1_1
    assert server.tls.maximum_version is TlsVersion.TLS_1_2
    assert server.tls.cipher_suites == ("AES128-SHA",)
    path = "spec.listeners[0].tls.parameters.cipherSuites[1]"
    assert said(found) == [(path, Severity.WARNING, Reason.UNSUPPORTED_VALUE)]


AUTHORITIES = [
    pytest.param([secret(tls_crt=CERTIFICATE, tls_key=PRIVATE_KEY, ca_crt=CERTIFICATE)], id="same-secret"),
    pytest.param([secret(cert=CERTIFICATE, key=PRIVATE_KEY, cacert=CERTIFICATE)], id="generic-secret"),
    pytest.param([secret(), secret("certificate-cacert", cacert=CERTIFICATE)], id="second-secret"),
]


@pytest.mark.parametrize("secrets", AUTHORITIES)
def test_mutual_tls_has_the_authorities_of_clients(secrets: list[dict[str, Any]]) -> None:
    """In the same Secret, or in a second one as Istio has it."""
    found = only(find(virtual_gateway(tls(mode="MUTUAL", verifySubjectAltName=["client.example.com"])), *secrets))

    (server,) = found.ports[0].servers
    assert server.tls is not None
    assert server.tls.subject_alt_names == ("client.example.com",)
    assert {server.tls.certificate, server.tls.authorities} == {one.name for one in found.secrets}
    assert {type(one) for one in found.secrets} == {TlsCertificate, TrustedAuthorities}


OTHER_KEY = make_pair()[1]
SHORT = make_pair(key=rsa.generate_private_key(65537, 1024))
ODD = make_pair(key=ec.generate_private_key(ec.SECP256K1()))


@pytest.mark.parametrize(
    ("mode", "secrets"),
    [
        pytest.param("SIMPLE", [], id="no-secret"),
        pytest.param("SIMPLE", [secret(namespace="elsewhere")], id="secret-elsewhere"),
        pytest.param("SIMPLE", [secret(other="x")], id="other-entries"),
        pytest.param("SIMPLE", [secret(tls_crt="garbage", tls_key=PRIVATE_KEY)], id="garbage-certificate"),
        pytest.param("SIMPLE", [secret(tls_crt=CERTIFICATE, tls_key="garbage")], id="garbage-key"),
        pytest.param("SIMPLE", [secret(tls_crt=CERTIFICATE, tls_key=OTHER_KEY)], id="key-of-another"),
        pytest.param("SIMPLE", [secret(tls_crt=SHORT[0], tls_key=SHORT[1])], id="short-key"),
        pytest.param("SIMPLE", [secret(tls_crt=ODD[0], tls_key=ODD[1])], id="odd-curve"),
        pytest.param("MUTUAL", [secret()], id="no-authorities"),
        pytest.param("MUTUAL", [secret(), secret("certificate-cacert", cacert="garbage")], id="garbage-authorities"),
    ],
)
def test_a_secret_that_cannot_be_used_keeps_the_listener_closed(mode: str, secrets: list[dict[str, Any]]) -> None:
    """It says so at the Secret's name, it keeps its server names, and repeats nothing of the Secret."""
    found = find(virtual_gateway(tls("a.example.com", mode=mode)), *secrets)

    (server,) = only(found).ports[0].servers
    assert (server.is_open, server.tls, server.names) == (False, None, ("a.example.com",))
    assert only(found).secrets == ()
    (finding,) = found.findings[key_of_gateway()]
    assert (finding.path, finding.severity) == ("spec.listeners[0].tls.secretName", Severity.INVALID)
    assert "BEGIN" not in finding.message


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)])
def test_other_usual_keys_are_taken(key: Any) -> None:
    """As Envoy takes them."""
    certificate, private_key = make_pair(key=key)

    assert only(find(virtual_gateway(tls()), secret(tls_crt=certificate, tls_key=private_key))).secrets


def test_a_certificate_that_is_renewed_changes_the_secrets_alone() -> None:
    """Every port keeps its identity, so no listener and no route is made anew."""
    memo = Memo()
    before = object_set(BASE, pod(), service(), virtual_gateway(tls("a.example.com")), secret())
    certificate, private_key = make_pair()
    renewed = read_objects(secret(tls_crt=certificate, tls_key=private_key))
    first, second = only(find_in(before, memo)), only(find_in(before.with_changes(renewed), memo))

    assert second.secrets != first.secrets
    assert all(one is other for one, other in zip(first.ports, second.ports, strict=True))


def test_the_same_objects_give_the_same_gateways() -> None:
    """By identity, as far as others depend on them."""
    memo = Memo()
    objects = object_set(BASE, pod(), service(), virtual_gateway(HTTP, tls("a.example.com")), secret())

    assert only(find_in(objects, memo)) is only(find_in(objects, memo))


def test_the_older_of_plain_text_and_tls_has_a_port() -> None:
    """The other is told; nothing that was to be in TLS is served in plain text."""
    plain = {"port": {"number": 443}, "http": {}}
    old = virtual_gateway(tls("a.example.com"), name="old")
    young = virtual_gateway(plain, name="young", created="2024-01-02T00:00:00Z")
    found = find(young, old)

    assert [server.key.name for server in only(found).ports[0].servers] == ["old"]
    assert said(found, "young") == [("spec.listeners[0].port", Severity.WARNING, Reason.CONFLICTED)]


def test_one_port_of_the_pod_has_one_port_of_the_service() -> None:
    """Two numbers that lead to one port cannot be told apart there."""
    found = find(virtual_gateway(HTTP, HTTP | {"port": {"number": 8080}}))

    assert [port.number for port in only(found).ports] == [80]
    assert said(found) == [("spec.listeners[1].port", Severity.WARNING, Reason.CONFLICTED)]


def test_a_server_name_belongs_to_the_older_listener() -> None:
    """The younger keeps what is left; with nothing left it is not there."""
    found = find(
        virtual_gateway(tls("a.example.com", "b.example.com"), name="old"),
        virtual_gateway(tls("b.example.com", "*.example.com"), name="young", created="2024-01-02T00:00:00Z"),
        virtual_gateway(tls("a.example.com"), name="youngest", created="2024-01-03T00:00:00Z"),
        secret(),
    )

    assert [(server.key.name, server.names) for server in only(found).ports[0].servers] == [
        ("old", ("a.example.com", "b.example.com")),
        ("young", ("*.example.com",)),
    ]
    assert said(found, "young") == [("spec.listeners[0]", Severity.WARNING, Reason.CONFLICTED)]
    assert said(found, "youngest") == [("spec.listeners[0]", Severity.WARNING, Reason.CONFLICTED)]


def test_a_host_that_is_no_host_allows_nothing() -> None:
    """The listener opens for the other entries; without any it has no server name, and is not there."""
    one = find(virtual_gateway(tls("a.*.com", "a.example.com")), secret())
    none = find(virtual_gateway(tls("a.*.com")), secret())

    assert only(one).ports[0].servers[0].names == ("a.example.com",)
    assert said(one) == [("spec.listeners[0].allowedRouteTables[0].host", Severity.INVALID, Reason.INVALID_HOST)]
    assert only(none).ports == ()


def test_a_virtual_gateway_of_another_workspace_opens_nothing_here() -> None:
    """Nor one of no workspace."""
    other = virtual_gateway(namespace="nowhere")

    found = find(other)

    assert only(found).ports == ()
    assert found.findings == {}


def test_a_list_of_revoked_certificates_has_no_effect_yet() -> None:
    """The listener opens, and its owner is told that such clients are let in."""
    revoking = secret(tls_crt=CERTIFICATE, tls_key=PRIVATE_KEY, ca_crt=CERTIFICATE, ca_crl="x")
    found = find(virtual_gateway(tls(mode="MUTUAL")), revoking)

    assert only(found).ports[0].servers[0].is_open
    assert said(found) == [("spec.listeners[0].tls.secretName", Severity.WARNING, Reason.NO_EFFECT)]


def from_files(mode: str = "SIMPLE", port: int = 443, files: Mapping[str, str] | None = None) -> dict[str, Any]:
    """An HTTPS listener whose certificate is in files."""
    paths = {"serverCert": "/c.pem", "privateKey": "/k.pem", "caCerts": "/ca.pem", **(files or {})}
    return {"port": {"number": port}, "http": {}, "tls": {"mode": mode, "files": paths}}


CONTENTS = {"/c.pem": CERTIFICATE, "/k.pem": PRIVATE_KEY, "/ca.pem": CERTIFICATE, "/other-k.pem": make_pair()[1]}


def test_what_is_in_files_is_given_by_name() -> None:
    """Authorities of mode SIMPLE are told to have no effect."""
    found = find(virtual_gateway(*(from_files(mode, port) for port, mode in MODES)), files=CONTENTS)

    servers = [server for port in only(found).ports for server in port.servers]
    assert [(server.tls.certificate, server.tls.authorities) for server in servers if server.tls] == [
        ("file:/c.pem#/k.pem", ""),
        ("file:/c.pem#/k.pem", "file:/ca.pem#ca"),
    ]
    assert only(found).secrets == (
        TlsCertificate(name="file:/c.pem#/k.pem", chain=CERTIFICATE, private_key=PRIVATE_KEY),
        TrustedAuthorities(name="file:/ca.pem#ca", certificates=CERTIFICATE),
    )
    assert [one.message for one in found.findings[key_of_gateway()]] == [
        "no effect yet: spec.listeners[0].tls.files.caCerts"
    ]


MODES = ((443, "SIMPLE"), (444, "MUTUAL"))


@pytest.mark.parametrize(
    ("files", "field", "reason"),
    [
        ({"serverCert": "/new.pem"}, "serverCert", Reason.TARGET_NOT_FOUND),
        ({"serverCert": "/k.pem"}, "serverCert", Reason.INVALID_KEY),
        ({"privateKey": "/new.pem"}, "privateKey", Reason.TARGET_NOT_FOUND),
        ({"privateKey": "/other-k.pem"}, "privateKey", Reason.INVALID_KEY),
        ({"caCerts": "/new.pem"}, "caCerts", Reason.TARGET_NOT_FOUND),
        ({"caCerts": "/k.pem"}, "caCerts", Reason.INVALID_KEY),
        ({"serverCert": "c.pem"}, "serverCert", Reason.INVALID),
    ],
)
def test_a_listener_with_files_that_cannot_be_used_is_closed(files: dict[str, str], field: str, reason: Reason) -> None:
    """It keeps its server names, and its owner is told which file is to blame, but not what is inside."""
    found = find(virtual_gateway(from_files("MUTUAL", files=files)), files=CONTENTS)

    (server,) = only(found).ports[0].servers
    assert (server.is_open, server.tls) == (False, None)
    assert only(found).secrets == ()
    assert said(found) == [(f"spec.listeners[0].tls.files.{field}", Severity.INVALID, reason)]
    assert "BEGIN" not in str(found.findings)


def test_a_renewed_file_changes_no_port() -> None:
    """Only what the gateway is given."""
    memo, renewed = Memo(), dict(zip(("/c.pem", "/k.pem"), make_pair(), strict=True))
    objects = object_set(BASE, pod(), service(), virtual_gateway(from_files()))
    before, after = find_in(objects, memo, CONTENTS), find_in(objects, memo, CONTENTS | renewed)

    assert only(after).ports == only(before).ports
    assert [one.chain for one in only(after).secrets if isinstance(one, TlsCertificate)] == [renewed["/c.pem"]]


def test_what_passes_through_needs_no_certificate() -> None:
    """Fields of TLS that ends at the gateway are told to have no effect."""
    found = find(virtual_gateway({"port": {"number": 443}, "tls": {"mode": "PASSTHROUGH", "secretName": "missing"}}))

    assert only(found).ports[0].servers[0].is_open
    assert said(found) == [("", Severity.NOTE, Reason.NO_EFFECT)]
