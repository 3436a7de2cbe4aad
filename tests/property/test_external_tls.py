"""Whatever an ExternalService says, a server that is sent to was verified, unless the object says that it need not be."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.catalog import AUTHORITIES, build_catalog, external_service
from tests.support.certificates import Authority
from tests.support.envoy_mesh import secret

from meshpass.translate.catalog import Catalog
from meshpass.translate.filecontent import FileContent
from meshpass.translate.knownhost import known_hosts

AUTHORITY = Authority()
CLIENT = AUTHORITY.sign("client")
SECRETS = [
    secret("whole", {"tls.crt": CLIENT.chain, "tls.key": CLIENT.private_key, "ca.crt": AUTHORITY.certificate}),
    secret("authorities", {"ca.crt": AUTHORITY.certificate}),
    secret("pair", {"tls.crt": CLIENT.chain, "tls.key": CLIENT.private_key}),
    secret("broken", {"tls.crt": CLIENT.chain}),
]
CONTENTS = {
    "/ca.pem": FileContent(text=AUTHORITY.certificate),
    "/client.pem": FileContent(text=CLIENT.chain),
    "/client.key": FileContent(text=CLIENT.private_key),
    "/gone.pem": FileContent(problem="cannot be read"),
}
NAMES = ["", "missing", *(one["metadata"]["name"] for one in SECRETS)]


def optional(values: list[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


TLS = st.fixed_dictionaries(
    {},
    optional={
        "mode": optional(["SIMPLE", "DISABLE", "MUTUAL", "ISTIO_MUTUAL"]),
        "sni": optional(["", "a.example", "192.0.2.1", "*.example"]),
        "caCertificates": optional(["", "/ca.pem", "ca.pem", "/gone.pem", "/client.key"]),
        "clientCertificate": optional(["", "/client.pem", "/gone.pem", "/ca.pem"]),
        "privateKey": optional(["", "/client.key", "/client.pem"]),
        "credentialName": optional(NAMES),
        "insecureSkipVerify": st.booleans(),
    },
)
SERVICES = st.fixed_dictionaries(
    {"hosts": st.lists(optional(["a.example", "b.example", "*.example", "a_b"]), max_size=3)},
    optional={
        "addresses": st.lists(optional(["192.0.2.1", "192.0.2.0/24"]), max_size=2),
        "subjectAltNames": st.lists(optional(["a.example", "c.example"]), max_size=2),
    },
)


def build(service: dict[str, Any], protocol: str, tls: dict[str, Any] | None, authorities: str) -> Catalog:
    port = {"number": 443, "protocol": protocol, **({} if tls is None else {"clientsideTls": tls})}
    manifest = external_service(**service, ports=[port])
    return build_catalog(manifest, *SECRETS, system_authorities=authorities, contents=CONTENTS)


@given(
    service=SERVICES,
    protocol=optional(["HTTP", "HTTPS", "GRPC", "TLS", "TCP"]),
    tls=st.none() | TLS,
    authorities=optional(["", AUTHORITIES]),
)
def test_requests_go_to_verified_servers_or_nowhere(
    service: dict[str, Any], protocol: str, tls: dict[str, Any] | None, authorities: str
) -> None:
    """With authorities, a name to prove, and with a certificate where one is to be shown; files that are right alone."""
    catalog = build(service, protocol, tls, authorities)
    (entry,) = catalog.external_services.values()
    (port,) = entry.ports
    if port.why_not(http=True):
        return
    found, said = port.requests.tls, tls or {}
    wanted = said.get("mode") != "DISABLE" if tls is not None else protocol in {"HTTPS", "TLS"}
    assert (found is not None) is wanted
    if found is None:
        return
    assert said.get("mode") != "ISTIO_MUTUAL"
    assert bool(found.certificate) is (said.get("mode") == "MUTUAL")
    assert found.certificate in {"", "file:/client.pem#/client.key", *(f"cluster1/httpbin/{name}" for name in NAMES)}
    if not said.get("insecureSkipVerify"):
        assert found.verify
        assert found.authorities or found.authorities_file == AUTHORITIES
        assert found.authorities in {"", "file:/ca.pem#ca", *(f"cluster1/httpbin/{name}#ca" for name in NAMES)}
        assert found.sni or found.subject_alt_names


@given(
    service=SERVICES,
    protocol=optional(["HTTP", "HTTPS", "TCP"]),
    tls=st.none() | TLS,
    authorities=optional(["", AUTHORITIES]),
)
def test_a_host_without_a_table_is_spoken_to_like_a_route(
    service: dict[str, Any], protocol: str, tls: dict[str, Any] | None, authorities: str
) -> None:
    """What is wrong is not known at all; where TLS is told, nobody gets by without it."""
    catalog = build(service, protocol, tls, authorities)
    (entry,) = catalog.external_services.values()
    (port,) = entry.ports
    for known in known_hosts("cluster1", "httpbin", catalog):
        assert not port.why_not(http=not known.destination.tunnel)
        connection = port.tunnel if known.destination.tunnel else port.requests
        assert known.destination.backend.endswith(connection.suffix)
        if tls is not None and tls.get("mode") != "DISABLE":
            assert connection.tls is not None
