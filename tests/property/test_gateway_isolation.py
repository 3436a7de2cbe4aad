"""Listeners of a gateway with TLS, over generated VirtualGateways and tables: none serves a host of another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st
from tests.support.gateway_objects import HTTP, NODE, pod, secret, service, tls, virtual_gateway
from tests.support.objects import BASE, build_snapshots, forward, object_set, route_table, translate_objects
from tests.support.reading import same_bytes

from meshpass.ir import Forward, GatewayListener, HttpChain, Proxy, RouteConfiguration, TcpChain, VirtualHost

NAMES = ("a.example.com", "b.example.com", "x-a.example.com", "c.b.example.com", "example.com", "example.org")
HOSTS = (*NAMES[:5], "*.example.com", "*.b.example.com", "*-a.example.com", "*")
WORLD = (BASE, pod(), service(), secret())

_hosts = st.lists(st.sampled_from(HOSTS), min_size=1, max_size=3, unique=True)
_https = st.builds(
    lambda hosts, name: tls(*hosts, secretName=name),
    st.one_of(st.just([]), _hosts),
    st.sampled_from(["certificate", "certificate", "certificate", "missing"]),
)
_passing = st.builds(
    lambda hosts: {"port": {"number": 443}, "tls": {}, "allowedRouteTables": [{"host": host} for host in hosts]}, _hosts
)
_plain = st.builds(
    lambda hosts, redirect: {
        **HTTP,
        "httpsRedirect": redirect,
        "allowedRouteTables": [{"host": host} for host in hosts],
    },
    _hosts,
    st.booleans(),
)
_gateways = st.lists(
    st.lists(st.one_of(_https, _https, _https, _passing, _plain), min_size=1, max_size=3), min_size=1, max_size=3
)


def _table(index: int, hosts: list[str], gateways: list[int], passing: bool) -> dict[str, Any]:
    to = {"forwardTo": {"destinations": [{"ref": {"name": "httpbin"}}]}}
    routes: dict[str, Any] = {"tls": [to]} if passing else {"http": [forward()]}
    references = [{"name": f"gateway-{number}"} for number in gateways]
    return route_table(f"table-{index}", hosts=hosts, virtualGateways=references, **routes)


_tables = st.lists(
    st.tuples(
        _hosts,
        st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True).map(lambda some: [*{0, *some}]),
        st.sampled_from([False, False, True]),
    ),
    min_size=2,
    max_size=4,
)


@st.composite
def edges(draw: st.DrawFn) -> list[dict[str, Any]]:
    """VirtualGateways and tables that name some of them."""
    gateways = [
        virtual_gateway(*listeners, name=f"gateway-{index}", created=f"2024-01-0{index + 1}T00:00:00Z")
        for index, listeners in enumerate(draw(_gateways))
    ]
    return gateways + [_table(index, *rest) for index, rest in enumerate(draw(_tables))]


def longest(host: str, patterns: Mapping[str, Any]) -> Any:
    """What Envoy takes, of server names and of domains alike: the name itself, else the longest wildcard, else ``*``."""
    if host in patterns:
        return patterns[host]
    fitting = [one for one in patterns if one.startswith("*") and host.endswith(one[1:]) and len(host) >= len(one)]
    return (
        patterns[max([*fitting, *(["*"] if "*" in patterns else [])], key=len)] if fitting or "*" in patterns else None
    )


def by_server_name(listener: GatewayListener) -> dict[str, HttpChain | TcpChain]:
    found: dict[str, HttpChain | TcpChain] = {}
    for chain in listener.chains:
        for name in chain.server_names or ("*",):
            assert name not in found, "Envoy refuses a listener with two chains for one server name"
            assert name == "*" or "*" not in name.removeprefix("*."), "Envoy refuses partial wildcards"
            found[name] = chain
    return found


def by_domain(routes: RouteConfiguration) -> dict[str, VirtualHost]:
    found: dict[str, VirtualHost] = {}
    for host in routes.virtual_hosts:
        for domain in host.domains:
            assert domain not in found, "Envoy refuses routes with a domain twice"
            found[domain] = host
    return found


def forwards(host: VirtualHost | None) -> bool:
    return host is not None and any(isinstance(route.action, Forward) for route in host.routes)


def listeners_of(proxy: Proxy) -> Iterable[GatewayListener]:
    return (one for one in proxy.listeners if isinstance(one, GatewayListener))


@given(edges())
def test_what_a_client_says_inside_of_tls_leads_to_no_other_listener(manifests: list[dict[str, Any]]) -> None:
    """Whatever server name it asked for, and whatever host it names then."""
    proxy = translate_objects(object_set(*WORLD, *manifests)).proxies[NODE]
    routes = {one.name: by_domain(one) for one in proxy.routes}
    for listener in listeners_of(proxy):
        chains = by_server_name(listener)
        if not any(chain.tls for chain in listener.chains):
            continue
        for asked in NAMES:
            chain = longest(asked, chains)
            if not isinstance(chain, HttpChain):
                continue
            for said in NAMES:
                if forwards(longest(said, routes[chain.route_configuration])):
                    event("served" if asked == said else "served on a connection for another name")
                    assert longest(said, chains) is chain


@given(edges())
def test_a_gateway_serves_what_tables_and_listeners_agree_on(manifests: list[dict[str, Any]]) -> None:
    """A host is served on a port only if a table has it, and a listener of a VirtualGateway that it names allows it."""
    proxy = translate_objects(object_set(*WORLD, *manifests)).proxies[NODE]
    gateways = {one["metadata"]["name"]: one for one in manifests if one["kind"] == "VirtualGateway"}
    for routes in proxy.routes:
        hosts, port = by_domain(routes), 80 if routes.name.startswith("http-") else 443
        for said in NAMES:
            agreed = any(
                longest(said, dict.fromkeys(table["spec"]["hosts"], True))
                and longest(said, dict.fromkeys(allowed, True))
                for table in manifests
                if table["kind"] == "RouteTable"
                for reference in table["spec"]["virtualGateways"]
                if (gateway := gateways.get(reference["name"])) is not None
                for listener in gateway["spec"]["listeners"]
                if listener["port"]["number"] == port
                for allowed in [[one["host"] for one in listener["allowedRouteTables"]] or ["*"]]
            )
            if forwards(longest(said, hosts)):
                event("served")
                assert agreed


@given(edges(), st.randoms())
def test_the_order_of_gateways_and_tables_means_nothing(manifests: list[dict[str, Any]], random: Any) -> None:
    """Shuffled objects give the same gateway, down to the bytes."""
    shuffled = random.sample(manifests, len(manifests))
    one, other = (translate_objects(object_set(*WORLD, *some)) for some in (manifests, shuffled))

    assert one.proxies[NODE] == other.proxies[NODE]
    assert same_bytes(build_snapshots(one)[NODE], build_snapshots(other)[NODE])
