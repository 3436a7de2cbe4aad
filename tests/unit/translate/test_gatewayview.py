"""What gateways listen on and serve: hosts, the bounds between listeners with TLS, TCP, and how little an edit costs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.gateway_objects import CERTIFICATE, HTTP, NODE, pod, secret, service, tls, virtual_gateway
from tests.support.objects import BASE, forward, object_set, read_objects, route_table, translate_objects

from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.ir import DirectResponse, GatewayListener, HttpChain, Proxy, RouteConfiguration, TcpChain, VirtualHost
from meshpass.memo import Memo
from meshpass.translate import FeatureGates
from meshpass.translate.finding import Reason

TCP = {"port": {"number": 443}, "tcp": {}}


def table(
    name: str = "table", *hosts: str, created: str = "", gateways: tuple[str, ...] = ("gateway",), **spec: Any
) -> Any:
    """A table for gateways, with one route to httpbin unless it says others."""
    spec = spec if set(spec) & {"http", "tcp", "tls"} else {"http": [forward()], **spec}
    references = [{"name": one} for one in gateways]
    return route_table(
        name, created=created, hosts=list(hosts or ("www.example.com",)), virtualGateways=references, **spec
    )


def to(port: int | None = None) -> dict[str, Any]:
    """A TCP route to httpbin."""
    matchers = [{"port": port}] if port else []
    return {"matchers": matchers, "forwardTo": {"destinations": [{"ref": {"name": "httpbin"}}]}}


def world(*manifests: dict[str, Any]) -> ObjectSet:
    return object_set(BASE, pod(), service(), *manifests)


def proxy_of(objects: ObjectSet, memo: Memo | None = None, **settings: Any) -> Proxy:
    return translate_objects(objects, memo, **settings).proxies[NODE]


def hosts_of(routes: RouteConfiguration) -> dict[str, VirtualHost]:
    return {domain: host for host in routes.virtual_hosts for domain in host.domains}


def only(proxy: Proxy) -> dict[str, VirtualHost]:
    (routes,) = proxy.routes
    return hosts_of(routes)


def chains_of(proxy: Proxy) -> list[HttpChain | TcpChain]:
    return [chain for listener in proxy.listeners if isinstance(listener, GatewayListener) for chain in listener.chains]


def secure_hosts(proxy: Proxy, index: int) -> dict[str, VirtualHost]:
    """The hosts of the listener with this index."""
    return next(hosts_of(one) for one in proxy.routes if one.name.endswith(f"~{index}"))


def served(host: VirtualHost | None) -> bool:
    """True if the host has a route that goes somewhere."""
    return host is not None and any(not isinstance(one.action, DirectResponse) for one in host.routes)


def test_tables_of_one_host_follow_one_another() -> None:
    """The older table's routes come first."""
    young = table("young", created="2024-02-02T00:00:00Z", http=[{**forward(), "name": "young"}])
    old = table("old", created="2024-02-01T00:00:00Z", http=[{**forward(), "name": "old"}])

    routes = only(proxy_of(world(virtual_gateway(), young, old)))["www.example.com"].routes
    assert [route.name.partition(".")[0] for route in routes] == ["old", "young"]


def test_no_domain_is_there_twice() -> None:
    """Envoy would refuse all routes of the listener."""
    gateways = [virtual_gateway(HTTP, HTTP | {"httpsRedirect": True}), virtual_gateway(name="other")]
    both = table("a", "*", "*.example.com", "www.example.com", gateways=("gateway", "other"))

    (routes,) = proxy_of(world(*gateways, both, table("b", "*"))).routes
    domains = [domain for host in routes.virtual_hosts for domain in host.domains]
    assert sorted(domains) == ["*", "*.example.com", "www.example.com"]


def test_a_host_that_one_listener_redirects_is_redirected() -> None:
    """Whoever asks for TLS gets it, whichever is the older."""
    redirect = HTTP | {"httpsRedirect": True, "allowedRouteTables": [{"host": "www.example.com"}]}
    hosts = only(proxy_of(world(virtual_gateway(HTTP, redirect), table("a", "www.example.com", "api.example.com"))))

    assert {name: host.redirect_to_https for name, host in hosts.items()} == {
        "www.example.com": True,
        "api.example.com": False,
    }


def test_denial_by_default_covers_paths_without_a_route() -> None:
    """Of hosts of a table with the label, where the gate says so."""
    labelled = table(labels={"gateway.gloo.solo.io/require_auth": "true"})
    gates = FeatureGates(GatewayDefaultDenyAllHTTPRequests=True)

    host = only(proxy_of(world(virtual_gateway(), labelled), gates=gates))["www.example.com"]
    assert host.routes[-1].action == DirectResponse(status=403, body="RBAC: access denied")
    assert len(only(proxy_of(world(virtual_gateway(), labelled)))["www.example.com"].routes) == 1


CLOSED = "closed.example.com"


@pytest.mark.parametrize(
    ("claims", "host", "other"),
    [
        pytest.param([CLOSED], CLOSED, [], id="any"),
        pytest.param([CLOSED], CLOSED, ["*.example.com"], id="wildcard"),
        pytest.param(["*.example.com"], CLOSED, [], id="below-a-wildcard"),
        pytest.param(["*.example.com"], "*.example.com", [], id="a-wildcard"),
        pytest.param(["*.example.com"], "*-a.example.com", [], id="a-partial-wildcard"),
        pytest.param(["*-a.example.com"], "x-a.example.com", [], id="claimed-by-a-partial-wildcard"),
        pytest.param(["*.example.com"], "a.b.example.com", [], id="two-below"),
    ],
)
@pytest.mark.parametrize("closed", [False, True])
def test_a_listener_serves_no_host_of_another(claims: list[str], host: str, other: list[str], closed: bool) -> None:
    """Not even when the other is closed: a client chooses the listener, and so what it is asked for."""
    strict = tls(*claims, mode="MUTUAL", secretName="missing" if closed else "strict")
    secrets = [secret(), secret("strict"), secret("strict-cacert", cacert=CERTIFICATE)]
    proxy = proxy_of(world(virtual_gateway(strict, tls(*other)), *secrets, table("a", host, "*.example.com", "*")))

    if not closed:
        assert served(secure_hosts(proxy, 0).get(host))
    others = secure_hosts(proxy, 1)
    assert not served(others.get(host))
    names = {"*.example.com" if name.startswith("*-") else name for name in claims}
    for name in names:
        assert [route.action for route in others[name].routes] == [
            DirectResponse(status=421, body="this host is served on another connection")
        ]


def test_a_plain_port_for_tcp_goes_to_one_table() -> None:
    """Routes for other ports do not count; the table that loses is told."""
    objects = world(
        virtual_gateway(TCP),
        table("other-port", created="2024-01-01T00:00:00Z", tcp=[to(80)]),
        table("old", created="2024-01-02T00:00:00Z", tcp=[to(443), to()]),
        table("young", created="2024-01-03T00:00:00Z", tcp=[to()]),
    )
    translation = translate_objects(objects)

    (chain,) = chains_of(translation.proxies[NODE])
    assert isinstance(chain, TcpChain)
    assert [share.backend for share in chain.backends] == ["cluster1/httpbin/httpbin:8000"]
    reasons = {
        name: [
            one.reason
            for one in translation.report.objects[ObjectKey("RouteTable", "cluster1", "httpbin", name)].findings
        ]
        for name in ("other-port", "old", "young")
    }
    assert reasons == {"other-port": [], "old": [], "young": [Reason.CONFLICTED]}


def test_a_tcp_route_that_is_wrong_closes_its_port() -> None:
    """No other table's route takes its place."""
    wrong = {"forwardTo": {"destinations": [{"ref": {"name": "nobody"}, "port": {"number": 1}}]}}
    old = table("old", created="2024-01-02T00:00:00Z", tcp=[wrong])
    young = table("young", created="2024-01-03T00:00:00Z", tcp=[to()])

    assert chains_of(proxy_of(world(virtual_gateway(TCP), old, young))) == []


def test_tcp_without_a_route_is_not_listened_for() -> None:
    """HTTP is, and answers 404."""
    proxy = proxy_of(world(virtual_gateway(HTTP, TCP), table("a", http=[forward()])))

    assert [listener.name for listener in proxy.listeners] == ["gateway-8080"]


def test_tls_that_ends_at_the_gateway_may_hold_anything() -> None:
    """One chain for each listener, with its certificate and server names."""
    listener = {**tls("www.example.com"), "tcp": {}}
    del listener["http"]

    (chain,) = chains_of(proxy_of(world(virtual_gateway(listener), secret(), table("a", tcp=[to()]))))
    assert isinstance(chain, TcpChain)
    assert chain.server_names == ("www.example.com",)
    assert chain.tls is not None


@pytest.mark.parametrize(
    ("hosts", "names", "passed"),
    [
        pytest.param(["*"], ["www.example.com"], ["www.example.com"], id="name"),
        pytest.param(["*"], [], ["*.example.com"], id="what-the-listener-lets-in"),
        pytest.param(["*-api.example.com", "www.example.com"], [], ["www.example.com"], id="envoy-cannot-match"),
        pytest.param(["*"], ["www.example.org", "www.example.com"], ["www.example.com"], id="not-let-in"),
        pytest.param(["*"], [CLOSED, "www.example.com"], ["www.example.com"], id="of-another-listener"),
    ],
)
def test_tls_is_passed_on_only_for_names_of_the_listener(hosts: list[str], names: list[str], passed: list[str]) -> None:
    """Those that Envoy can match, that the table may serve, and that no other listener has."""
    listener = {"port": {"number": 443}, "tls": {}, "allowedRouteTables": [{"host": "*.example.com"}]}
    route = {**to(), "matchers": [{"sniHosts": names}] if names else []}
    passing = table("a", *hosts, tls=[route])

    proxy = proxy_of(world(virtual_gateway(tls(CLOSED), listener), secret(), passing))
    found = [name for chain in chains_of(proxy) if isinstance(chain, TcpChain) for name in chain.server_names]
    assert found == passed


def test_an_edit_of_one_table_leaves_the_rest_as_it_is() -> None:
    """Listeners, and the hosts of all other tables, are the very same objects."""
    memo = Memo()
    tables = [table(f"table-{index}", f"www-{index}.example.com") for index in range(20)]
    before = world(virtual_gateway(HTTP, tls()), secret(), *tables)
    edited = read_objects(table("table-7", "www-7.example.com", http=[{**forward(), "name": "edited"}]))
    first, second = proxy_of(before, memo), proxy_of(before.with_changes(edited), memo)

    assert all(one is other for one, other in zip(first.listeners, second.listeners, strict=True))
    for one, other in zip(first.routes, second.routes, strict=True):
        pairs = zip(one.virtual_hosts, other.virtual_hosts, strict=True)
        assert [old.name for old, new in pairs if old is not new] == ["www-7.example.com"]


def test_gateways_with_the_same_ports_share_their_routes() -> None:
    """Only the addresses that they listen on differ."""
    translation = translate_objects(world(pod("other", ip="127.0.2.2"), virtual_gateway(), table()))
    one, other = translation.proxies[NODE], translation.proxies["gateway~cluster1~httpbin~other"]

    assert one.routes[0] is other.routes[0]
    assert {listener.address for listener in (*one.listeners, *other.listeners)} == {"127.0.2.1", "127.0.2.2"}


def test_a_table_is_told_of_gateways_that_do_not_take_it() -> None:
    """One that is not there, one of another workspace, one whose listeners allow other hosts."""
    objects = world(
        virtual_gateway(HTTP | {"allowedRouteTables": [{"host": "api.example.com"}]}),
        table("a", "www.example.com", "api.example.com", gateways=("gateway", "nobody")),
    )
    report = translate_objects(objects).report.objects[ObjectKey("RouteTable", "cluster1", "httpbin", "a")]

    assert [(one.path, one.reason) for one in report.findings] == [
        ("spec.virtualGateways[0]", Reason.TARGET_NOT_FOUND),
        ("spec.virtualGateways[1]", Reason.TARGET_NOT_FOUND),
    ]
    assert "www.example.com" in report.findings[0].message
    assert "nobody" in report.findings[1].message
