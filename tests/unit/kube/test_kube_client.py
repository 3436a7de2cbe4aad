from __future__ import annotations

import json
import traceback

import httpx2 as httpx
import pytest
from tests.support.fake_kube import FakeClock, FakeKube, Refusal

from meshpass.api.kinds import CORE_KINDS
from meshpass.errors import ApiError, ExpiredError
from meshpass.kube.client import KubeClient, PatchType

SECRET = next(kind for kind in CORE_KINDS if kind.kind == "Secret")
NAMESPACE = next(kind for kind in CORE_KINDS if kind.kind == "Namespace")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server() -> FakeKube:
    return FakeKube([SECRET, NAMESPACE])


@pytest.fixture
def client(server, clock) -> KubeClient:
    return server.client(clock)


def make_secret(name: str, **metadata: object) -> dict:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **metadata}, "type": "Opaque"}


async def test_client_creates_reads_replaces_patches_and_deletes(server, client):
    created = await client.create_raw(SECRET, make_secret("a", namespace="ns1"))
    assert await client.get_raw(SECRET, "ns1", "a") == created
    replaced = await client.replace_raw(SECRET, {**created, "data": {"k": "dg=="}})
    patched = await client.patch_raw(SECRET, "ns1", "a", {"data": {"l": "dw=="}}, field_manager="me")
    assert patched["data"] == {"k": "dg==", "l": "dw=="}
    request = server.requests[-1]
    assert request.url.params["fieldManager"] == "me"
    assert request.headers["content-type"] == PatchType.MERGE

    with pytest.raises(ApiError) as conflict:
        await client.replace_raw(SECRET, replaced)
    assert (conflict.value.code, conflict.value.reason) == (409, "Conflict")
    assert (await client.delete(SECRET, "ns1", "a", propagation="Background"))["status"] == "Success"
    assert json.loads(server.requests[-1].content)["propagationPolicy"] == "Background"
    with pytest.raises(ApiError) as gone:
        await client.get_raw(SECRET, "ns1", "a")
    assert (gone.value.code, gone.value.reason, str(gone.value)) == (404, "NotFound", 'secrets "a" not found')


async def test_client_puts_objects_without_namespace_into_its_own(server, client):
    await client.create_raw(SECRET, make_secret("a"))
    await client.create_raw(NAMESPACE, {"metadata": {"name": "ns1"}})
    assert set(server.objects) == {("secrets", "default", "a"), ("namespaces", "", "ns1")}


async def test_client_lists_all_pages_and_names_the_kind_of_each_item(server, client):
    for number in range(5):
        server.put("secrets", f"s{number}", f"ns{number % 2}")
    listed = await client.list_raw(SECRET, limit=2, label_selector="a=b", field_selector="type=Opaque")

    assert [item["metadata"]["name"] for item in listed.items] == ["s0", "s2", "s4", "s1", "s3"]
    assert {(item["apiVersion"], item["kind"]) for item in listed.items} == {("v1", "Secret")}
    assert listed.version == str(server.version)
    assert len(server.requests) == 3
    assert server.requests[2].url.params["labelSelector"] == "a=b"
    assert server.requests[2].url.params["fieldSelector"] == "type=Opaque"
    assert len((await client.list_raw(SECRET, "ns1")).items) == 2
    assert server.requests[-1].url.path == "/api/v1/namespaces/ns1/secrets"


async def test_client_quotes_names_so_that_they_stay_one_segment(server, client):
    with pytest.raises(ApiError):
        await client.get_raw(SECRET, "a/../b", "x?y/z")
    assert server.requests[-1].url.raw_path == b"/api/v1/namespaces/a%2F..%2Fb/secrets/x%3Fy%2Fz"


async def test_client_tries_reads_again_after_5xx_and_heeds_retry_after(server, client, clock):
    server.put("secrets", "a")
    server.refusals.extend([Refusal(500), Refusal(429, headers={"retry-after": "3"}), Refusal(503)])
    await client.get_raw(SECRET, "default", "a")

    assert clock.delays == [0.1, 3, 0.4]


async def test_client_gives_up_reading_after_a_few_tries(server, client, clock):
    server.refusals.extend(Refusal(503) for _ in range(9))
    with pytest.raises(ApiError) as error:
        await client.get_raw(SECRET, "default", "a")
    assert error.value.code == 503
    assert len(clock.delays) == 3


async def test_client_repeats_writes_after_429_alone(server, client, clock):
    server.refusals.append(Refusal(429, headers={"retry-after": "9999"}))
    await client.create_raw(SECRET, make_secret("a"))
    assert clock.delays == [30]

    server.refusals.append(Refusal(500))
    with pytest.raises(ApiError):
        await client.create_raw(SECRET, make_secret("b"))
    assert len(server.requests) == 3


async def test_client_unreachable_server_is_code_0_and_names_the_host(server, client):
    server.down = True
    with pytest.raises(ApiError) as error:
        await client.get_raw(SECRET, "default", "a")

    assert error.value.code == 0
    assert "fake.test:6443" in str(error.value)
    assert error.value.hint


@pytest.mark.parametrize(
    ("code", "body", "error_type", "message"),
    [
        (410, b"", ExpiredError, "the server answered 410"),
        (504, b'{"kind":"Status","message":"Too large resource version: 9, current: 3"}', ExpiredError, "Too large"),
        (502, b"<html>bad gateway</html>", ApiError, "<html>bad gateway</html>"),
        (
            422,
            b'{"kind":"Status","code":422,"reason":"Invalid","message":"spec.x: Required"}',
            ApiError,
            "spec.x: Requ",
        ),
        (403, b"[1]", ApiError, "[1]"),
    ],
)
async def test_client_failures_carry_the_servers_words(clock, code, body, error_type, message):
    server = FakeKube([SECRET])
    client = server.client(clock)
    server.refusals.extend(Refusal(code, body=body) for _ in range(4))
    with pytest.raises(error_type) as error:
        await client.get_raw(SECRET, "default", "a")
    assert type(error.value) is error_type
    assert str(error.value).startswith(message)
    assert error.value.code == code


@pytest.mark.parametrize("body", [b"", b"[]", b"no json"])
async def test_client_answer_that_is_no_object_is_a_failure(server, client, body):
    server.refusals.append(Refusal(200, body=body))
    with pytest.raises(ApiError) as error:
        await client.get_raw(SECRET, "default", "a")
    assert error.value.code == 0


async def test_client_list_without_a_version_is_a_failure(server, client):
    server.refusals.append(Refusal(200, body=b'{"kind":"SecretList","items":[]}'))
    with pytest.raises(ApiError):
        await client.list_raw(SECRET)


async def test_client_joins_the_pages_of_a_table(clock):
    def answer(request: httpx.Request) -> httpx.Response:
        assert "as=Table" in request.headers["accept"]
        more = "continue" not in request.url.params
        metadata = {"resourceVersion": "7", "continue": "next" if more else ""}
        return httpx.Response(200, json={"kind": "Table", "metadata": metadata, "rows": [{"cells": [more]}]})

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://fake.test")
    client = KubeClient(http, cluster="c", sleep=clock.sleep)
    assert [row["cells"] for row in (await client.table(SECRET))["rows"]] == [[True], [False]]
    assert (await client.table(SECRET, "default", "a"))["kind"] == "Table"


async def test_client_errors_show_no_token(clock):
    def answer(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("all connection attempts failed")

    http = httpx.AsyncClient(
        transport=httpx.MockTransport(answer),
        base_url="https://user:hunter2@fake.test",
        headers={"authorization": "Bearer s3cr3t"},
    )
    client = KubeClient(http, cluster="c", sleep=clock.sleep)
    with pytest.raises(ApiError) as error:
        await client.get_raw(SECRET, "default", "a")
    text = "".join(traceback.format_exception(error.value))
    assert "s3cr3t" not in text
    assert "hunter2" not in text
