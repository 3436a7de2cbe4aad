"""TLS to ExternalServices: the server is verified, or nothing is sent (decision record 0015)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.catalog import AUTHORITIES, build_catalog, external_service, messages
from tests.support.certificates import Authority
from tests.support.envoy_mesh import secret

from meshpass.ir import UpstreamTls
from meshpass.translate.externalentry import ExternalPort
from meshpass.translate.filecontent import FileContent

AUTHORITY = Authority()
CLIENT = AUTHORITY.sign("client")
FILES = {"clientCertificate": "/c.pem", "privateKey": "/k.pem"}
WHOLE = {"tls.crt": CLIENT.chain, "tls.key": CLIENT.private_key, "ca.crt": AUTHORITY.certificate}
GENERIC = {"cert": CLIENT.chain, "key": CLIENT.private_key, "cacert": AUTHORITY.certificate}
NAME = "cluster1/httpbin/keys"
OTHER = AUTHORITY.sign("other")
CONTENTS = {
    "/c.pem": FileContent(text=CLIENT.chain),
    "/k.pem": FileContent(text=CLIENT.private_key),
    "/other-k.pem": FileContent(text=OTHER.private_key),
    "/ca.pem": FileContent(text=AUTHORITY.certificate),
    "/gone.pem": FileContent(problem="cannot be read"),
    "/garbage.pem": FileContent(text="-----BEGIN GARBAGE-----"),
}
"""The files that there are."""


def build(
    tls: dict[str, Any] | None,
    *,
    stored: dict[str, str] | None = None,
    system_authorities: str = AUTHORITIES,
    protocol: str = "HTTPS",
    **spec: Any,
) -> tuple[ExternalPort, str]:
    port: dict[str, Any] = {"number": 443, "protocol": protocol}
    if tls is not None:
        port["clientsideTls"] = tls
    manifest = external_service(**{"hosts": ["api.example.com"], "ports": [port], **spec})
    secrets = [] if stored is None else [secret("keys", stored)]
    catalog = build_catalog(manifest, *secrets, system_authorities=system_authorities, contents=CONTENTS)
    (entry,) = catalog.external_services.values()
    return entry.ports[0], "; ".join(messages(catalog, manifest))


def tls_of(tls: dict[str, Any] | None, **given: Any) -> UpstreamTls | None:
    port, _ = build(tls, **given)
    assert not port.why_not(http=True)
    return port.requests.tls


def test_a_port_that_speaks_tls_is_sent_requests_with_tls() -> None:
    """Verified by the system's authorities, under the only host's name. Passed-on connections have the client's TLS."""
    port, words = build(None)

    assert port.requests.tls == UpstreamTls(sni="api.example.com", authorities_file=AUTHORITIES)
    assert port.tunnel.tls is None
    assert words == ""


def test_a_port_that_is_told_to_has_tls_for_connections_too() -> None:
    """Whatever its protocol."""
    port, _ = build({}, protocol="TCP")

    assert port.tunnel.tls == port.requests.tls == UpstreamTls(sni="api.example.com", authorities_file=AUTHORITIES)


def test_other_ports_have_none() -> None:
    """And those that say DISABLE."""
    assert tls_of(None, protocol="HTTP") is None
    assert tls_of({"mode": "DISABLE"}) is None


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        pytest.param(
            {"caCertificates": "/ca.pem", "sni": "other.example"},
            UpstreamTls(sni="other.example", authorities="file:/ca.pem#ca"),
            id="files",
        ),
        pytest.param(
            {"mode": "MUTUAL", **FILES},
            UpstreamTls(
                sni="api.example.com",
                authorities_file=AUTHORITIES,
                certificate="file:/c.pem#/k.pem",
            ),
            id="own-files",
        ),
        pytest.param(
            {"mode": "MUTUAL", "credentialName": "keys"},
            UpstreamTls(sni="api.example.com", authorities=f"{NAME}#ca", certificate=NAME),
            id="secret",
        ),
        pytest.param(
            {"credentialName": "keys"}, UpstreamTls(sni="api.example.com", authorities=f"{NAME}#ca"), id="secret-simple"
        ),
        pytest.param({"insecureSkipVerify": True}, UpstreamTls(sni="api.example.com", verify=False), id="unverified"),
    ],
)
@pytest.mark.parametrize("stored", [WHOLE, GENERIC], ids=["kubernetes", "generic"])
def test_what_is_spoken(tls: dict[str, Any], expected: UpstreamTls, stored: dict[str, str]) -> None:
    """As the object says."""
    assert tls_of(tls, stored=stored) == expected


def test_names_that_the_certificate_must_have() -> None:
    """Those of the service instead of the server name; with several hosts they are needed."""
    names = tls_of({}, hosts=["a.example", "b.example"], subjectAltNames=["x.example"])

    assert names == UpstreamTls(authorities_file=AUTHORITIES, subject_alt_names=("x.example",))


def test_a_server_known_by_its_address_proves_the_address() -> None:
    """Which is no server name that could be asked for."""
    found = tls_of({}, hosts=[], addresses=["192.0.2.1"])

    assert found == UpstreamTls(authorities_file=AUTHORITIES, subject_alt_names=("192.0.2.1",))


@pytest.mark.parametrize(
    ("tls", "given", "words"),
    [
        pytest.param({}, {"system_authorities": ""}, "clientsideTls: there are no authorities", id="no-authorities"),
        pytest.param(None, {"system_authorities": ""}, "there are no authorities", id="automatic"),
        pytest.param({"mode": "ISTIO_MUTUAL"}, {}, "mode: ISTIO_MUTUAL has no effect", id="istio"),
        pytest.param({"mode": "MUTUAL"}, {}, "mode: MUTUAL needs credentialName", id="mutual-without"),
        pytest.param({"mode": "MUTUAL", "privateKey": "/k"}, {}, "needed together", id="half-a-pair"),
        pytest.param({"sni": "192.0.2.1"}, {}, "sni: is no host name", id="address-as-name"),
        pytest.param({"sni": "x" * 300}, {}, "sni: is no host name", id="long-name"),
        pytest.param({"sni": "*.example.com"}, {}, "sni: is no host name", id="pattern-as-name"),
        pytest.param({"caCertificates": "ca.pem"}, {}, "caCertificates: is no absolute path", id="relative"),
        pytest.param({"credentialName": "keys"}, {}, "credentialName: there is no Secret keys", id="no-secret"),
        pytest.param(
            {"credentialName": "keys"}, {"stored": {"x": "y"}}, "Secret keys has neither tls.crt", id="empty-secret"
        ),
        pytest.param(
            {"credentialName": "keys"},
            {"stored": {"tls.crt": CLIENT.chain, "tls.key": CLIENT.private_key}},
            "has no ca.crt",
            id="simple-without-authorities",
        ),
        pytest.param(
            {"mode": "MUTUAL", "credentialName": "keys"},
            {"stored": {"ca.crt": AUTHORITY.certificate}},
            "has no tls.crt and tls.key",
            id="mutual-without-certificate",
        ),
        pytest.param(
            {"mode": "MUTUAL", "credentialName": "keys", **FILES},
            {"stored": WHOLE},
            "both give a certificate",
            id="twice",
        ),
        pytest.param(
            {"credentialName": "keys", "caCertificates": "/ca.pem"}, {"stored": WHOLE}, "both give auth", id="twice-ca"
        ),
        pytest.param({"caCertificates": "/gone.pem"}, {}, "caCertificates: the file cannot be read", id="gone"),
        pytest.param({"caCertificates": "/new.pem"}, {}, "caCertificates: the file has not been read", id="unread"),
        pytest.param({"caCertificates": "/k.pem"}, {}, "caCertificates: the file has authorities that", id="no-ca"),
        pytest.param(
            {"mode": "MUTUAL", "clientCertificate": "/garbage.pem", "privateKey": "/k.pem"},
            {},
            "clientCertificate: the file has a certificate that is no PEM",
            id="garbage",
        ),
        pytest.param(
            {"mode": "MUTUAL", "clientCertificate": "/c.pem", "privateKey": "/gone.pem"},
            {},
            "privateKey: the file cannot be read",
            id="no-key",
        ),
        pytest.param(
            {"mode": "MUTUAL", "clientCertificate": "/c.pem", "privateKey": "/other-k.pem"},
            {},
            "privateKey: the file has a key that is not that of its certificate",
            id="mismatch",
        ),
        pytest.param({}, {"hosts": ["a.example", "b.example"]}, "sni: is needed, or subjectAltNames", id="which-name"),
        pytest.param(
            {"insecureSkipVerify": True, "caCertificates": "/ca.pem"},
            {},
            "contradicts caCertificates",
            id="contradiction",
        ),
        pytest.param(
            {"insecureSkipVerify": True},
            {"subjectAltNames": ["x"]},
            "contradicts subjectAltNames",
            id="contradiction-names",
        ),
    ],
)
def test_what_cannot_be_verified_is_not_sent_to(tls: dict[str, Any] | None, given: dict[str, Any], words: str) -> None:
    """The status names the field; the routes are answered 500."""
    port, told = build(tls, **given)

    assert port.why_not(http=True) != ""
    assert words in port.why_not(http=True)
    assert words in told
    assert bool(port.why_not(http=False)) is (tls is not None)


def test_an_unverified_server_is_warned_of() -> None:
    """Whoever answers gets the requests."""
    _, words = build({"insecureSkipVerify": True})

    assert "insecureSkipVerify: the server is not verified" in words


def test_fields_that_a_mode_does_not_use_are_named() -> None:
    """So that nobody believes that a certificate is shown."""
    assert "clientCertificate: has no effect with mode SIMPLE" in build(FILES)[1]
    assert "sni: has no effect with mode DISABLE" in build({"mode": "DISABLE", "sni": "x"})[1]
