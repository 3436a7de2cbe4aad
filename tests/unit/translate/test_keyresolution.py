"""Where keys come from: inline text, a Secret of the same workspace, or a remote key set."""

from __future__ import annotations

import base64

import pytest
from tests.support.catalog import (
    WORKSPACES,
    build_catalog,
    build_endpoints,
    endpoint_slice,
    external_endpoint,
    external_service,
    service,
    virtual_destination,
)
from tests.support.objects import object_set

from meshpass.api.common import (
    DestinationKind,
    DestinationReference,
    ObjectReference,
    PortSelector,
)
from meshpass.api.core import Secret
from meshpass.api.metadata import ObjectMeta
from meshpass.api.objectset import ObjectKey
from meshpass.api.security import (
    JWKSRetryPolicy,
    JWTPolicy,
    JWTPolicyConfig,
    JWTPolicySpec,
    JWTProvider,
    LocalJWKS,
    RemoteJWKS,
    RetryBackoff,
    SecretReference,
)
from meshpass.ir import Endpoint
from meshpass.translate.endpointindex import EndpointIndex
from meshpass.translate.keyresolution import KeyContext, KeyText, find_sources, resolve_keys
from meshpass.translate.keysource import FetchedKeys, KeyFetch, KeySets, KeySource

META = ObjectMeta(name="x", namespace="httpbin")
POLICY = ObjectKey("JWTPolicy", "cluster1", "httpbin", "policy")
ENDPOINT = Endpoint(address="127.0.0.9", port=8443)
URL = "https://issuer.example/keys"
PORTS = [{"number": 443, "name": "https", "protocol": "HTTPS"}, {"number": 80, "name": "plain"}]
OBJECTS = object_set(
    service("issuer", https=443),
    external_service("by-host", hosts=["keys.example"], ports=PORTS),
    external_service("by-address", addresses=["192.0.2.7", "192.0.2.0/24"], ports=PORTS),
    external_service("by-endpoint", hosts=["keys.example"], ports=PORTS, selector={"outside": "keys"}),
    external_endpoint("keys", "127.0.0.8", https=8443, plain=8080),
    external_endpoint("keys", "127.0.0.7", https=1, place={"namespace": "elsewhere"}),
    virtual_destination(
        "keys",
        services=[{"labels": {"app": "issuer"}}],
        ports=[{"number": 8000, "protocol": "HTTPS", "targetPort": {"name": "https"}}],
    ),
    endpoint_slice("issuer", "127.0.0.9", https=8443),
)
CATALOG = build_catalog(objects=OBJECTS, system_authorities="")
ISSUER = DestinationReference(ref=ObjectReference(name="issuer"), port=PortSelector(number=443))


def context(
    secrets: dict[ObjectKey, Secret] | None = None,
    key_sets: KeySets | None = None,
    *,
    endpoints: EndpointIndex | None = None,
) -> KeyContext:
    return KeyContext(
        secrets=secrets or {},
        catalog=CATALOG,
        endpoints=endpoints or build_endpoints(objects=OBJECTS),
        workspaces=WORKSPACES,
        key_sets=key_sets or {},
        trust_domain="",
    )


def policy(**providers: JWTProvider) -> JWTPolicy:
    return JWTPolicy(metadata=META, spec=JWTPolicySpec(config=JWTPolicyConfig(providers=providers)))


def resolve(provider: JWTProvider, where: KeyContext | None = None) -> KeyText:
    (found,) = resolve_keys(POLICY, policy(me=provider), where or context())
    return found


def secret(**data: str) -> Secret:
    return Secret(metadata=META, data={name: base64.b64encode(value.encode()).decode() for name, value in data.items()})


def from_secret(name: str = "keys", key: str = "", namespace: str = "") -> JWTProvider:
    reference = SecretReference(object_ref=ObjectReference(name=name, namespace=namespace), key=key)
    return JWTProvider(local=LocalJWKS(secret_ref=reference))


def remote(**fields: object) -> JWTProvider:
    return JWTProvider(remote=RemoteJWKS(url=URL, **fields))  # type: ignore[arg-type]


KEYS = ObjectKey("Secret", "cluster1", "httpbin", "keys")


def test_inline_text_is_the_text() -> None:
    """And no text of a Secret, in which shared keys would be allowed."""
    found = resolve(JWTProvider(local=LocalJWKS(inline="text")))

    assert (found.text, found.secret, found.path) == ("text", False, "spec.config.providers[me].local.inline")


def test_no_source_at_all_is_a_problem() -> None:
    """The message names all the fields that would be one."""
    found = resolve(JWTProvider())

    assert found.text is None
    assert "local.inline, local.secretRef or remote.url" in found.problem


def test_the_only_entry_of_a_secret_needs_no_name() -> None:
    """The Secret is looked for beside the policy unless it says where."""
    found = resolve(from_secret(), context({KEYS: secret(pem="text")}))

    assert (found.text, found.secret, found.problem) == ("text", True, "")


def test_of_several_entries_the_named_one_is_taken() -> None:
    """Whatever its place among them."""
    found = resolve(from_secret(key="b"), context({KEYS: secret(a="one", b="two", c="three")}))

    assert found.text == "two"


@pytest.mark.parametrize(
    ("provider", "stored", "words", "path"),
    [
        pytest.param(
            JWTProvider(local=LocalJWKS(secret_ref=SecretReference())), None, "names no Secret", ".objectRef", id="none"
        ),
        pytest.param(from_secret(""), None, "names no Secret", ".objectRef", id="empty-name"),
        pytest.param(from_secret(), None, "there is no Secret keys in namespace httpbin", ".objectRef", id="missing"),
        pytest.param(
            from_secret(namespace="elsewhere"),
            secret(a="x"),
            "not in the workspace",
            ".objectRef",
            id="other-workspace",
        ),
        pytest.param(
            from_secret(namespace="nobody"), secret(a="x"), "not in the workspace", ".objectRef", id="no-workspace"
        ),
        pytest.param(from_secret(), secret(a="x", b="y"), "has no entry ''; it has a, b", ".key", id="which"),
        pytest.param(from_secret(key="z"), secret(a="x"), "has no entry 'z'; it has a", ".key", id="no-entry"),
        pytest.param(from_secret(), Secret(metadata=META), "has no entry ''; it has none", ".key", id="empty-secret"),
        pytest.param(from_secret(), Secret(metadata=META, data={"a": "?"}), "is no text", ".key", id="no-base64"),
        pytest.param(from_secret(), Secret(metadata=META, data={"a": "/w=="}), "is no text", ".key", id="no-utf8"),
    ],
)
def test_what_is_wrong_with_a_secret_is_said_without_its_content(
    provider: JWTProvider, stored: Secret | None, words: str, path: str
) -> None:
    """No text comes of it, so the policy denies."""
    stores = {ObjectKey("Secret", "cluster1", place, "keys"): stored for place in ("httpbin", "elsewhere", "nobody")}
    found = resolve(provider, context(stores if stored is not None else {}))  # type: ignore[arg-type]

    assert found.text is None
    assert found.source is None
    assert words in found.problem
    assert found.path == f"spec.config.providers[me].local.secretRef{path}"


def test_a_remote_set_that_was_fetched_is_the_text() -> None:
    """With what there is to say about it."""
    source = KeySource(URL)
    found = resolve(remote(), context(key_sets={source: FetchedKeys(jwks="set", problem="is old")}))

    assert (found.text, found.source, found.problem) == ("set", source, "is old")


def test_a_remote_set_that_was_not_fetched_has_a_source_but_no_text() -> None:
    """It can only deny until it comes."""
    found = resolve(remote())

    assert (found.text, found.source) == (None, KeySource(URL))
    assert "not been fetched yet" in found.problem


def test_a_destination_is_part_of_the_source() -> None:
    """The same URL through another Service is another set of keys."""
    assert resolve(remote(destination_ref=ISSUER)).source == KeySource(URL, "cluster1/httpbin/issuer:443")


@pytest.mark.parametrize("url", ["", "issuer.example/keys", "ftp://issuer.example", "file:///etc/passwd", "https://"])
def test_only_http_is_fetched(url: str) -> None:
    """Anything else is a mistake of the policy."""
    found = resolve(JWTProvider(remote=RemoteJWKS(url=url)))

    assert found.source is None
    assert (found.path, found.problem) == ("spec.config.providers[me].remote.url", "is no http or https URL")


def test_a_destination_that_is_not_there_is_a_problem() -> None:
    """With the path of the reference."""
    found = resolve(remote(destination_ref=DestinationReference(ref=ObjectReference(name="nope"))))

    assert found.source is None
    assert found.path == "spec.config.providers[me].remote.destinationRef.ref"


def fetches(*providers: JWTProvider) -> dict[KeySource, KeyFetch]:
    policies = {
        ObjectKey("JWTPolicy", "cluster1", "httpbin", f"p{index}"): policy(me=provider)
        for index, provider in enumerate(providers)
    }
    return dict(find_sources(policies, context()))


def test_defaults_of_a_fetch() -> None:
    """What the API says for unset fields."""
    (fetch,) = fetches(remote()).values()

    assert fetch == KeyFetch(policies=(ObjectKey("JWTPolicy", "cluster1", "httpbin", "p0"),))
    assert (fetch.cache_seconds, fetch.timeout_seconds, fetch.retries) == (300, 5, 1)


def test_what_a_policy_wishes_is_taken() -> None:
    """Every field in seconds; the endpoints are those of the destination."""
    backoff = RetryBackoff(base_interval="2s", max_interval="1m")
    (fetch,) = fetches(
        remote(
            destination_ref=ISSUER,
            cache_duration="1h",
            timeout="500ms",
            failed_refetch_duration="3s",
            retry_policy=JWKSRetryPolicy(num_retries=0, backoff=backoff),
        )
    ).values()

    assert fetch.endpoints == (ENDPOINT,)
    assert (fetch.cache_seconds, fetch.timeout_seconds, fetch.failed_refetch_seconds) == (3600, 0.5, 3)
    assert (fetch.retries, fetch.retry_base_seconds, fetch.retry_max_seconds) == (0, 2, 60)


def test_a_destination_without_endpoints_is_not_looked_up_elsewhere() -> None:
    """There is nowhere to connect to, which is not the same as going direct; one that is nowhere is no source."""
    bare = context(endpoints=build_endpoints())
    (fetch,) = find_sources({POLICY: policy(me=remote(destination_ref=ISSUER))}, bare).values()
    broken = remote(destination_ref=DestinationReference(ref=ObjectReference(name="nope")))

    assert fetch.endpoints == ()
    assert not find_sources({POLICY: policy(me=broken)}, bare)


@pytest.mark.parametrize("duration", ["0s", "-5s", "soon", ""])
def test_a_duration_that_is_none_means_the_default(duration: str) -> None:
    """A fetch without a pause would be a flood."""
    retry = JWKSRetryPolicy(backoff=RetryBackoff(base_interval=duration, max_interval=duration))
    (fetch,) = fetches(
        remote(cache_duration=duration, timeout=duration, failed_refetch_duration=duration, retry_policy=retry)
    ).values()

    assert fetch == KeyFetch(policies=fetch.policies)


def test_the_longest_pause_is_ten_times_the_first_and_never_shorter() -> None:
    """Unset: ten times; set below the first: the first."""
    (ten,) = fetches(remote(retry_policy=JWKSRetryPolicy(backoff=RetryBackoff(base_interval="3s")))).values()
    backoff = RetryBackoff(base_interval="3s", max_interval="1s")
    (floor,) = fetches(remote(retry_policy=JWKSRetryPolicy(backoff=backoff))).values()

    assert (ten.retry_max_seconds, floor.retry_max_seconds) == (30, 3)


def test_policies_that_name_one_source_share_one_fetch() -> None:
    """Fresh as the most impatient wishes, patient as the most careful."""
    found = fetches(
        remote(cache_duration="1h", timeout="1s", failed_refetch_duration="9s"),
        remote(cache_duration="1m", timeout="4s", retry_policy=JWKSRetryPolicy(num_retries=7)),
    )

    (fetch,) = found.values()
    assert (fetch.cache_seconds, fetch.timeout_seconds) == (60, 1)
    assert (fetch.retries, fetch.failed_refetch_seconds) == (7, 9)
    assert [key.name for key in fetch.policies] == ["p0", "p1"]


def test_a_policy_outside_of_every_workspace_fetches_nothing() -> None:
    """Nor do broken sources and local keys."""
    outside = ObjectKey("JWTPolicy", "cluster1", "nobody", "policy")
    inside = {POLICY: policy(a=JWTProvider(local=LocalJWKS(inline="x")), b=JWTProvider(remote=RemoteJWKS(url="no")))}

    assert dict(find_sources({outside: policy(me=remote()), **inside}, context())) == {}


@pytest.mark.parametrize(
    ("kind", "name", "port", "endpoints"),
    [
        ("EXTERNAL_SERVICE", "by-host", PortSelector(number=443), [("keys.example", 443)]),
        ("EXTERNAL_SERVICE", "by-host", PortSelector(name="plain"), [("keys.example", 80)]),
        ("EXTERNAL_SERVICE", "by-address", PortSelector(number=443), [("192.0.2.7", 443)]),
        ("EXTERNAL_SERVICE", "by-endpoint", PortSelector(number=443), [("127.0.0.8", 8443)]),
        ("EXTERNAL_SERVICE", "by-endpoint", PortSelector(number=80), [("127.0.0.8", 8080)]),
        ("VIRTUAL_DESTINATION", "keys", None, [("127.0.0.9", 8443)]),
    ],
)
def test_a_key_set_comes_through_what_is_outside_or_virtual(
    kind: str, name: str, port: PortSelector | None, endpoints: list[tuple[str, int]]
) -> None:
    """Endpoints before addresses and hosts; Services of the own workspace behind a virtual destination."""
    reference = DestinationReference(kind=DestinationKind(kind), ref=ObjectReference(name=name), port=port)
    ((source, fetch),) = find_sources({POLICY: policy(me=remote(destination_ref=reference))}, context()).items()

    assert fetch.endpoints == tuple(Endpoint(*one) for one in endpoints)
    assert source.url == URL
    assert f"/{name}:" in source.destination


@pytest.mark.parametrize(
    ("kind", "name", "port", "words"),
    [
        ("EXTERNAL_SERVICE", "nope", None, "there is no ExternalService nope"),
        ("EXTERNAL_SERVICE", "by-host", None, "is needed"),
        ("EXTERNAL_SERVICE", "by-host", PortSelector(number=1), "443 (https), 80 (plain)"),
        ("VIRTUAL_DESTINATION", "by-host", None, "there is no VirtualDestination by-host"),
        ("VIRTUAL_DESTINATION", "", None, "names no VirtualDestination"),
    ],
)
def test_a_destination_that_is_not_there_is_no_source(
    kind: str, name: str, port: PortSelector | None, words: str
) -> None:
    """The policy is told which, and denies."""
    reference = DestinationReference(kind=DestinationKind(kind), ref=ObjectReference(name=name), port=port)
    found = resolve(remote(destination_ref=reference))

    assert found.source is None
    assert words in found.problem
