from __future__ import annotations

import json

import httpx2 as httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fake_kube import FakeClock, FakeKube, Refusal, merge

from meshpass.api.kinds import CORE_KINDS, KINDS
from meshpass.errors import ApiError, ManifestError, MeshpassError
from meshpass.kube.apply import LAST_APPLIED, Outcome, apply_raw
from meshpass.kube.client import KubeClient
from meshpass.kube.discovery import discover, discover_kinds, kind_for
from meshpass.kube.merge import merge_patch, three_way_patch
from meshpass.kube.resource import DiscoveredKind

SECRET = next(kind for kind in CORE_KINDS if kind.kind == "Secret")
POLICY = next(kind for kind in KINDS if kind.kind == "JWTPolicy")
SERVICE = next(kind for kind in CORE_KINDS if kind.kind == "Service")
WIDGET = DiscoveredKind(group="a.test", version="v3", kind="Widget", plural="widgets", namespaced=True)
# Its short name is the plural of another kind, as happens with CustomResourceDefinitions.
RIVAL = DiscoveredKind(
    group="z.test", version="v1", kind="Rival", plural="rivals", namespaced=False, short_names=("widgets", "rv")
)

scalars = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["x", "y"]) | st.lists(st.integers(0, 2))
documents = st.recursive(
    st.dictionaries(st.sampled_from("abcd"), scalars, max_size=4),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), scalars | inner, max_size=4),
    max_leaves=12,
)


def without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return value


@given(before=documents, after=documents)
def test_merge_patch_leads_from_one_state_to_the_other(before, after):
    """RFC 7386 cannot set a null, so the states hold none."""
    before, after = without_nulls(before), without_nulls(after)
    patch = merge_patch(before, after)
    assert merge(patch, before) == after
    assert bool(patch) == (before != after)


@given(applied=documents, wanted=documents, live=documents)
def test_three_way_patch_makes_live_say_what_is_wanted_and_settles(applied, wanted, live):
    live, applied = without_nulls(live), without_nulls(applied)
    result = merge(three_way_patch(applied, wanted, live), live)

    def says(actual: object, expected: object) -> bool:
        if isinstance(expected, dict):
            return isinstance(actual, dict) and all(
                name in actual and says(actual[name], item) for name, item in expected.items() if item is not None
            )
        return actual == expected

    assert says(result, wanted)
    assert not {name for name in applied if wanted.get(name) is None} & set(result)
    assert three_way_patch(applied, wanted, result) == {}
    assert three_way_patch(without_nulls(wanted), wanted, result) == {}


@pytest.fixture
def server() -> FakeKube:
    return FakeKube([SECRET, SERVICE, POLICY, WIDGET, RIVAL])


@pytest.fixture
def client(server) -> KubeClient:
    return server.client(FakeClock())


def make_widget(**spec: object) -> dict:
    return {"apiVersion": "a.test/v3", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}


async def test_apply_creates_configures_and_leaves_unchanged(server, client):
    outcomes = [(await apply_raw(client, make_widget(a=1, b={"c": 2}))).outcome]
    outcomes.append((await apply_raw(client, make_widget(a=1, b={"c": 2}))).outcome)
    outcomes.append((await apply_raw(client, make_widget(b={"d": 3}))).outcome)

    assert outcomes == [Outcome.CREATED, Outcome.UNCHANGED, Outcome.CONFIGURED]
    assert server.objects[("widgets", "default", "w")]["spec"] == {"b": {"d": 3}}
    assert server.requests[1].url.params.get("fieldManager") is None


async def test_apply_keeps_what_others_set(server, client):
    await apply_raw(client, make_widget(a=1))
    await client.patch_raw(WIDGET, "default", "w", {"spec": {"theirs": 5}, "metadata": {"labels": {"x": "y"}}})
    await apply_raw(client, make_widget(b=2))

    stored = server.objects[("widgets", "default", "w")]
    assert stored["spec"] == {"b": 2, "theirs": 5}
    assert stored["metadata"]["labels"] == {"x": "y"}


async def test_apply_annotation_is_the_one_that_kubectl_writes(server, client):
    manifest = make_widget(b="<>&é", a=1)
    manifest["metadata"]["annotations"] = {LAST_APPLIED: "old"}
    await apply_raw(client, manifest)

    text = server.objects[("widgets", "default", "w")]["metadata"]["annotations"][LAST_APPLIED]
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "apiVersion": "a.test/v3",
        "kind": "Widget",
        "metadata": {"annotations": {}, "name": "w", "namespace": "default"},
        "spec": {"a": 1, "b": "<>&é"},
    }
    assert text.startswith('{"apiVersion":"a.test/v3","kind":"Widget","metadata":{"annotations":{},"name":"w"')


@pytest.mark.parametrize("annotation", ["no json", "[]"])
async def test_apply_with_a_broken_annotation_removes_nothing(server, client, annotation):
    server.put("widgets", "w", spec={"theirs": 1}, metadata={"annotations": {LAST_APPLIED: annotation}})
    await apply_raw(client, make_widget(a=1))
    assert server.objects[("widgets", "default", "w")]["spec"] == {"theirs": 1, "a": 1}


async def test_apply_races_with_a_creator_and_with_a_deleter(server, client):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "QQ=="}}
    server.put("secrets", "s", data={"theirs": "QQ=="})
    missing = b'{"kind":"Status","code":404,"reason":"NotFound","message":"not yet"}'
    server.refusals.append(Refusal(404, method="GET", body=missing))
    assert (await apply_raw(client, secret)).outcome is Outcome.CONFIGURED
    assert server.objects[("secrets", "default", "s")]["data"] == {"theirs": "QQ==", "a": "QQ=="}

    server.refusals.append(Refusal(404, method="PATCH", body=missing))
    assert (await apply_raw(client, {**secret, "data": {}})).outcome is Outcome.CONFIGURED
    server.remove("secrets", "s")
    assert (await apply_raw(client, secret)).outcome is Outcome.CREATED


async def test_apply_gives_up_after_conflicts_without_end(server, client):
    server.put("widgets", "w", spec={})
    conflict = b'{"kind":"Status","code":409,"reason":"Conflict","message":"modified"}'
    server.refusals.extend(Refusal(409, method="PATCH", body=conflict) for _ in range(5))
    with pytest.raises(ApiError, match="modified"):
        await apply_raw(client, make_widget(a=1))


async def test_apply_needs_a_name_and_a_known_kind(client):
    with pytest.raises(ManifestError, match="name"):
        await apply_raw(client, {"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "x"}})
    for api_version, kind in (("a.test/v3", "Gadget"), ("b.test/v1", "Widget"), ("", "")):
        with pytest.raises(MeshpassError, match="has no kind"):
            await apply_raw(client, {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}})


async def test_discovery_finds_every_form_of_a_name(client):
    words = {
        "secrets": "Secret",
        "secret": "Secret",
        "Secret": "Secret",
        "svc": "Service",
        "jwt": "JWTPolicy",
        "jwtpolicies.security.policy.gloo.solo.io": "JWTPolicy",
        "jwtpolicies.v2.security.policy.gloo.solo.io": "JWTPolicy",
        "widgets": "Widget",
        "widgets.z.test": "Rival",
        "RV": "Rival",
    }
    assert {word: (await discover(client, word)).kind for word in words} == words
    found = await discover(client, "rv")
    assert (found.group, found.version, found.plural, found.namespaced) == ("z.test", "v1", "rivals", False)


async def test_discovery_of_an_unknown_word_suggests_one(client):
    with pytest.raises(MeshpassError, match="widgts") as error:
        await discover(client, "widgts")
    assert error.value.hint == "did you mean widgets?"


async def test_discovery_leaves_out_groups_whose_server_is_down(server, client):
    def up(request: httpx.Request) -> bool:
        return request.url.path != "/apis/z.test/v1"

    async def answer(request: httpx.Request) -> httpx.Response:
        return await server.handle_async_request(request) if up(request) else httpx.Response(503)

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://fake.test")
    partial = KubeClient(http, cluster="cluster1", sleep=FakeClock().sleep)
    kinds = {kind.kind for kind in await discover_kinds(partial)}

    assert kinds == {"Secret", "Service", "JWTPolicy", "Widget"}
    with pytest.raises(ApiError) as error:
        await kind_for(partial, "z.test/v1", "Rival")
    assert error.value.code == 503
    server.down = True
    with pytest.raises(ApiError):
        await discover_kinds(client)
