"""What a user writes must not make Envoy refuse a whole configuration, which others are in as well.

A refused RouteConfiguration or filter keeps the last good one for *everybody* on that proxy: no later edit of any table
or policy arrives. So what Envoy would refuse has to be found in translation and replaced or denied there.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.support import public_keys as pem
from tests.support.envoy import run_envoy
from tests.support.objects import (
    BASE,
    CLIENT,
    SERVER,
    forward,
    jwt_policy,
    object_set,
    route_table,
    translate_objects,
)

from meshpass.translate.keys import read_key_set

pytestmark = pytest.mark.envoy

Manifests = list[dict[str, Any]]


def matching(**matcher: Any) -> Manifests:
    return [route_table(hosts=["www.example.com"], http=[{**forward(), "matchers": [matcher]}])]


def answering(**answer: Any) -> Manifests:
    return [route_table(hosts=["www.example.com"], http=[{"name": "a", "directResponse": answer}])]


def providing(key: str = pem.P_256, **provider: Any) -> Manifests:
    table = route_table(hosts=["www.example.com"], http=[forward(route="httpbin")])
    return [table, jwt_policy(config={"providers": {"dev": {"local": {"inline": key}, **provider}}})]


def jwk(text: str, **changes: Any) -> str:
    return json.dumps({**json.loads(read_key_set(text))["keys"][0], **changes})


def encode(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8)).decode().rstrip("=")


def core(api_version: str, kind: str, name: str, **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "httpbin", **rest.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def reaching(address: str, port: int) -> Manifests:
    slice_ = core(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        "httpbin-1",
        metadata={"labels": {"kubernetes.io/service-name": "httpbin"}},
        addressType="IPv4",
        endpoints=[{"addresses": [address]}],
        ports=[{"name": "http", "port": port}],
    )
    return [slice_]


def beside(address: str) -> Manifests:
    annotations = {"meshpass.dev/proxy": "sidecar", "meshpass.dev/app-addresses": json.dumps({"8080": address})}
    metadata = {"labels": {"app": "httpbin"}, "annotations": annotations}
    return [core("v1", "Pod", "httpbin", metadata=metadata, status={"podIP": "127.0.1.1"})]


def serving(name: str, *ports: int, target: int | None = None, **spec: Any) -> dict[str, Any]:
    told = [{"port": port, "name": f"p{index}", "targetPort": target} for index, port in enumerate(ports)]
    return core("v1", "Service", name, spec={"ports": told, **spec})


def modulus() -> int:
    text = json.loads(jwk(pem.RSA_2048))["n"]
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="))


HARMLESS = {
    "path-of-any-text": matching(uri={"prefix": "/é\n\0%?#"}),
    "exact-path-of-any-text": matching(uri={"exact": "x" * 20_000}),
    "method-of-any-text": matching(method="é\n"),
    "header-value-of-any-text": matching(headers=[{"name": "a", "value": "é\n\0"}]),
    "body-with-commands": answering(status=200, body="%REQ(:PATH)% 100% {authority} \0"),
    "claim-of-any-text": providing(claimsToHeaders=[{"claim": "a\0%:)'\"\\\n😀", "header": "x-a"}]),
    "500-claims": providing(claimsToHeaders=[{"claim": f"a{n}", "header": f"x-{n}"} for n in range(500)]),
    "issuer-of-any-text": providing(issuer="é\n\0" * 1000, audiences=["é\n\0"]),
    "parameter-of-any-text": providing(tokenSource={"queryParams": ["é\n\0"]}),
    "kid-of-any-text": providing(jwk(pem.P_256, kid="é\n\0")),
    "largest-skew": providing(clockSkewSeconds=2**32 - 1),
    "provider-of-any-name": [
        route_table(hosts=["www.example.com"], http=[forward()]),
        jwt_policy(config={"providers": {"é\n\0" * 100: {"local": {"inline": pem.P_256}}}}),
    ],
    "service-without-ports": [
        serving("empty"),
        route_table(hosts=["empty"], http=[forward("empty", 80)]),
    ],
}

REGEXES = ("a{1001}", r"a\Z", "(?#x)a", r"\u0041", "(?a)a", "(?x)a b", r"[\b]", "[[:foo:]]", r"\p{Foo}", "a{1000}")

REFUSED = {
    **{f"regex-{text}": matching(uri={"regex": text}) for text in REGEXES},
    "header-name-with-newline": matching(headers=[{"name": "a\nb"}]),
    "long-query-parameter": matching(queryParameters=[{"name": "x" * 1025}]),
    "body-over-4096": answering(status=200, body="x" * 4097),
    "long-claim": providing(claimsToHeaders=[{"claim": "x" * 20_000, "header": "x-a"}]),
    "long-claim-of-odd-characters": providing(claimsToHeaders=[{"claim": "é" * 2000, "header": "x-a"}]),
    "even-modulus": providing(jwk(pem.RSA_2048, n=encode(modulus() - 1))),
    "exponent-over-32-bits": providing(jwk(pem.RSA_2048, e=encode(2**32 + 1))),
    "application-at-a-name": beside("localhost:8080"),
    "application-at-port-70000": beside("127.0.0.1:70000"),
    "application-at-ipv6": beside("[::1]:8080"),
    "application-at-no-port": beside("127.0.0.1:99999999999"),
    "endpoint-at-a-name": reaching("example.com", 8080),
    "endpoint-at-port-70000": reaching("127.0.0.1", 70_000),
    "endpoint-at-no-port": reaching("127.0.0.1", 2**40),
    "target-port-70000": [serving("x", 80, target=70_000, selector={"app": "httpbin"})],
    "target-port-of-no-size": [serving("x", 80, target=2**40, selector={"app": "httpbin"})],
    "one-port-twice": [serving("x", 80, 80)],
}


async def assert_accepted(manifests: Manifests) -> None:
    proxies = translate_objects(object_set(BASE, *manifests)).proxies
    async with run_envoy() as envoy:
        for node in (CLIENT, SERVER):
            state = await envoy.apply(proxies[node])
            assert state.rejections == ()


@pytest.mark.parametrize("manifests", [pytest.param(value, id=name) for name, value in HARMLESS.items()])
async def test_odd_input_is_accepted(manifests: Manifests) -> None:
    """Text that is odd but says something reaches Envoy as it is."""
    await assert_accepted(manifests)


@pytest.mark.parametrize("manifests", [pytest.param(value, id=name) for name, value in REFUSED.items()])
async def test_what_envoy_would_refuse_never_reaches_it(manifests: Manifests) -> None:
    """Every proxy of the mesh takes what it is sent, whatever one object says."""
    await assert_accepted(manifests)
