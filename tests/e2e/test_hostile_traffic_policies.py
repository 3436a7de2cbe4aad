"""What traffic policies may say at most is what Envoy takes; what it would not take is found before.

Where a policy is sound, its options reach Envoy as they are; where it is not, its routes are denied and Envoy never
hears of it. Either way no proxy refuses anything.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.envoy import run_envoy
from tests.support.objects import BASE, CLIENT, forward, object_set, route_table, translate_objects

pytestmark = pytest.mark.envoy

TOKEN_CHARACTERS = "!#$%&'*+.^_`|~0aZ-"
LONG = "v" * 4096
Config = dict[str, Any]


def cors(**config: Any) -> tuple[str, Config]:
    return "security CORSPolicy", {"allowOrigins": [{"exact": "https://a"}]} | config


def retry(**retries: Any) -> tuple[str, Config]:
    return "resilience RetryTimeoutPolicy", {"retries": retries}


def fault(**config: Any) -> tuple[str, Config]:
    return "resilience FaultInjectionPolicy", config


def headers(**config: Any) -> tuple[str, Config]:
    return "trafficcontrol HeaderManipulationPolicy", config


SOUND = {
    "any-origin": cors(allowOrigins=[{"exact": "*"}, {"prefix": "*"}, {"regex": ".*"}, {"exact": "null"}]),
    "long-origins": cors(allowOrigins=[{"exact": "a" * 256}, {"prefix": "%" * 256}, {"regex": "a" * 900}]),
    "stars": cors(allowMethods=["*"], allowHeaders=["*"], exposeHeaders=["*"]),
    "long-lists": cors(allowHeaders=[f"{index}{'a' * 250}" for index in range(300)]),
    "odd-methods": cors(allowMethods=[TOKEN_CHARACTERS, "get"]),
    "ages": cors(maxAge="8760h"),
    "no-age": cors(maxAge="0"),
    "no-origin": cors(allowOrigins=[]),
    "many-attempts": retry(attempts=2**31 - 1),
    "longest-try": retry(perTryTimeout="8760h"),
    "shortest-try": retry(perTryTimeout="1ms"),
    "strange-statuses": retry(retryOn="100,101,200,511"),
    "longest-request": ("resilience RetryTimeoutPolicy", {"requestTimeout": "8760h"}),
    "longest-delay": fault(delay={"fixedDelay": "8760h", "percentage": 0.0001}),
    "no-share": fault(abort={"httpStatus": 200, "percentage": 0}, delay={"fixedDelay": "1ms", "percentage": 0}),
    "highest-status": fault(abort={"httpStatus": 599, "percentage": 99.99999}),
    "odd-names": headers(appendRequestHeaders={TOKEN_CHARACTERS: "1"}, removeResponseHeaders=[TOKEN_CHARACTERS]),
    "long-names": headers(appendResponseHeaders={"a" * 256: LONG}, removeRequestHeaders=["a" * 256]),
    "per-cent": headers(appendRequestHeaders={"x": "%", "y": "%%", "z": "%REQ(", "a": "%UNKNOWN%", "b": "100%"}),
    "letters": headers(appendResponseHeaders={"x": "äöü ✓ 𝄞"}),
    "empty": headers(appendRequestHeaders={"x": ""}, appendResponseHeaders={"x": ""}),
    "only-percents": headers(appendResponseHeaders={"x": "%" * 4096}),
    "envoys-own": headers(
        appendRequestHeaders={"x-envoy-retry-on": "5xx", "authorization": "x"}, removeRequestHeaders=["x-request-id"]
    ),
    "framing": headers(removeRequestHeaders=["content-length", "transfer-encoding", "te"]),
    "cases": headers(appendRequestHeaders={"X": "1", "x": "2"}, removeRequestHeaders=["X", "x"]),
}
WRONG = {
    "empty-prefix": cors(allowOrigins=[{"prefix": ""}]),
    "bad-regex": cors(allowOrigins=[{"regex": "(?P<"}]),
    "big-regex": cors(allowOrigins=[{"regex": "(a{500}){2}"}]),
    "line-in-origin": cors(allowOrigins=[{"exact": "https://a\nb"}]),
    "line-in-method": cors(allowMethods=["GET\r\nx: y"]),
    "no-try": retry(perTryTimeout="0s"),
    "unknown-condition": retry(retryOn="sometimes"),
    "no-time": ("resilience RetryTimeoutPolicy", {"requestTimeout": "0s"}),
    "too-long": ("resilience RetryTimeoutPolicy", {"requestTimeout": "9999999h"}),
    "over-all": fault(abort={"httpStatus": 500, "percentage": 101}),
    "below-none": fault(abort={"httpStatus": 500, "percentage": -1}),
    "status-100": fault(abort={"httpStatus": 100}),
    "no-delay": fault(delay={"fixedDelay": "0s"}),
    "pseudo-header": headers(appendRequestHeaders={":path": "/"}),
    "remove-pseudo-header": headers(removeRequestHeaders=[":path"]),
    "host": headers(appendRequestHeaders={"Host": "x"}),
    "remove-host": headers(removeRequestHeaders=["host"]),
    "no-name": headers(appendResponseHeaders={"": "x"}),
    "remove-no-name": headers(removeResponseHeaders=[""]),
    "line-in-value": headers(appendResponseHeaders={"x": "a\r\nb: c"}),
    "zero-in-value": headers(appendResponseHeaders={"x": "a\0"}),
    "line-in-name": headers(removeRequestHeaders=["a\nb"]),
}


async def approval(kind: str, config: Config) -> str:
    """The state of a policy with this configuration, which Envoy has been asked to enforce."""
    group, name = kind.split(" ")
    manifest = {
        "apiVersion": f"{group}.policy.gloo.solo.io/v2",
        "kind": name,
        "metadata": {"name": "policy", "namespace": "httpbin"},
        "spec": {"config": config},
    }
    table = route_table(hosts=["www.example.com"], http=[forward(route="httpbin")])
    translation = translate_objects(object_set(BASE, table, manifest))
    async with run_envoy() as envoy:
        state = await envoy.apply(translation.proxies[CLIENT])
    assert [one.message for one in state.rejections] == []
    (routes,) = translation.proxies[CLIENT].routes
    return "sound" if routes.options else "denied" if translation.proxies[CLIENT].policies.denied else "lost"


@pytest.mark.parametrize(("kind", "config"), [pytest.param(*value, id=name) for name, value in SOUND.items()])
async def test_the_most_that_a_policy_may_say(kind: str, config: Config) -> None:
    """Envoy takes it."""
    assert await approval(kind, config) == "sound"


@pytest.mark.parametrize(("kind", "config"), [pytest.param(*value, id=name) for name, value in WRONG.items()])
async def test_what_envoy_would_refuse_never_reaches_it(kind: str, config: Config) -> None:
    """The route is denied, and every other route of the proxy goes on."""
    assert await approval(kind, config) == "denied"
