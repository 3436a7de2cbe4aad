"""The server over HTTP: verbs, metadata, errors, deletion, and what a hostile client gets."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import yaml
from tests.support.apiserver import (
    TOKEN,
    WIDGET_CRD,
    RunningApiServer,
    make_settings,
    make_tls_files,
    run_api_server,
    widget,
)

from meshpass.apiserver.server import ApiServer
from meshpass.errors import LocalMeshError

WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
ALL_WIDGETS = "/apis/example.com/v1/widgets"
NAMESPACES = "/api/v1/namespaces"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningApiServer]:
    async with run_api_server(tmp_path) as started:
        yield started


@pytest.fixture
def client(running: RunningApiServer) -> httpx.AsyncClient:
    return running.client


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"a": "b"}}


async def create(client: httpx.AsyncClient, path: str, value: Any, **query: str) -> dict[str, Any]:
    answer = await client.post(path, json=value, params=query)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def until(client: httpx.AsyncClient, path: str, code: int) -> None:
    """Returns when the path answers with that code: what the collector does happens behind the answer to a request."""
    async with asyncio.timeout(5):
        while (await client.get(path)).status_code != code:  # noqa: ASYNC110 - the server has no other way to say it
            await asyncio.sleep(0.005)


def failed(answer: httpx.Response, code: int, reason: str, message: str = "") -> dict[str, Any]:
    """The Status of a failure, which is the only body that failures have."""
    assert answer.status_code == code, answer.text
    status: dict[str, Any] = answer.json()
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert (status["code"], status["reason"]) == (code, reason)
    assert message in status["message"]
    return status


# ── objects and their metadata ───────────────────────────────────────────────────────────────


async def test_the_server_owns_uid_creation_time_generation_and_version(client: httpx.AsyncClient):
    """What a client sends for them is dropped."""
    made = await create(
        client,
        WIDGETS,
        widget("a", uid="mine", generation=7, creationTimestamp="2000-01-01T00:00:00Z", managedFields=[]),
    )
    metadata = made["metadata"]

    assert metadata["uid"] != "mine"
    assert metadata["generation"] == 1
    assert metadata["creationTimestamp"] > "2020"
    assert int(metadata["resourceVersion"]) > 0
    assert made["spec"] == {"size": 1, "colour": "red"}


async def test_generation_counts_changes_of_the_spec_alone(client: httpx.AsyncClient):
    """Labels and status do not count; a write that changes nothing is no revision."""
    path = f"{WIDGETS}/a"
    made = await create(client, WIDGETS, widget("a"))

    async def patched(where: str, patch: Any) -> tuple[int, int]:
        metadata = (await client.patch(where, json=patch, headers=MERGE)).json()["metadata"]
        return metadata["generation"], int(metadata["resourceVersion"]) - int(made["metadata"]["resourceVersion"])

    assert await patched(path, {"metadata": {"labels": {"x": "y"}}}) == (1, 1)
    assert await patched(f"{path}/status", {"status": {"phase": "Ready"}}) == (1, 2)
    assert await patched(path, {"spec": {"size": 2}}) == (2, 3)
    assert await patched(path, {"spec": {"size": 2}}) == (2, 3)


async def test_status_and_spec_are_written_apart(client: httpx.AsyncClient):
    """Neither URL changes what belongs to the other, on create, replace and patch."""
    made = await create(client, WIDGETS, {**widget("a"), "status": {"phase": "Forged"}})
    assert "status" not in made

    both = {**made, "spec": {"size": 9}, "status": {"phase": "Ready"}}
    written = (await client.put(f"{WIDGETS}/a/status", json=both)).json()
    assert (written["spec"]["size"], written["status"]) == (1, {"phase": "Ready"})

    both = {**written, "spec": {"size": 9}, "status": {"phase": "Forged"}}
    written = (await client.put(f"{WIDGETS}/a", json=both)).json()
    assert (written["spec"]["size"], written["status"]) == (9, {"phase": "Ready"})


async def test_a_write_from_an_old_state_is_a_conflict(client: httpx.AsyncClient):
    """Optimistic concurrency, for PUT and for a patch that names a version."""
    made = await create(client, WIDGETS, widget("a"))
    newer = {**made, "spec": {"size": 2}}
    assert (await client.put(f"{WIDGETS}/a", json=newer)).status_code == 200

    failed(await client.put(f"{WIDGETS}/a", json={**made, "spec": {"size": 3}}), 409, "Conflict", "has been modified")
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "spec": {"size": 3}}
    failed(await client.patch(f"{WIDGETS}/a", json=patch, headers=MERGE), 409, "Conflict")
    failed(await client.put(f"{WIDGETS}/a", json=widget("a")), 422, "Invalid", "must be specified for an update")


async def test_names_are_generated_and_checked(client: httpx.AsyncClient):
    """generateName gives a valid, new name; no name and a bad name are 422."""
    first = await create(client, WIDGETS, widget("", generateName="made-"))
    second = await create(client, WIDGETS, widget("", generateName="made-"))

    assert first["metadata"]["name"].startswith("made-")
    assert first["metadata"]["name"] != second["metadata"]["name"]
    failed(await client.post(WIDGETS, json=widget("")), 422, "Invalid", "name or generateName is required")
    failed(await client.post(WIDGETS, json=widget("Bad_Name")), 422, "Invalid", "RFC 1123 subdomain")
    failed(await client.post(WIDGETS, json=widget(first["metadata"]["name"])), 409, "AlreadyExists", "already exists")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"apiVersion": "example.com/v2"}, "does not match the expected API version (example.com/v1)"),
        ({"kind": "Gadget"}, "does not match the expected kind (Widget)"),
        ({"kind": None}, "Object 'Kind' is missing"),
        ({"metadata": {"name": "a", "namespace": "other"}}, "does not match the namespace sent on the request"),
        ({"metadata": {"name": "a", "resourceVersion": "5"}}, "resourceVersion should not be set"),
        ({"metadata": {"name": "a", "labels": {"x": 1}}}, "cannot unmarshal number"),
        ({"metadata": []}, "cannot unmarshal"),
    ],
)
async def test_a_body_that_contradicts_its_url_is_400(client: httpx.AsyncClient, change: Any, message: str):
    """Nothing is guessed."""
    failed(await client.post(WIDGETS, json={**widget("a"), **change}), 400, "BadRequest", message)


async def test_identity_cannot_be_changed(client: httpx.AsyncClient):
    """Name and namespace by 400, uid by 409."""
    made = await create(client, WIDGETS, widget("a"))
    metadata = made["metadata"]

    renamed = {**made, "metadata": {**metadata, "name": "b"}}
    failed(await client.put(f"{WIDGETS}/a", json=renamed), 400, "BadRequest", "does not match the name on the URL (a)")
    patch = {"metadata": {"name": "b"}}
    failed(await client.patch(f"{WIDGETS}/a", json=patch, headers=MERGE), 400, "BadRequest")
    other = {**made, "metadata": {**metadata, "uid": "another"}}
    failed(await client.put(f"{WIDGETS}/a", json=other), 409, "Conflict", "UID in precondition")


async def test_schema_violations_name_the_field(client: httpx.AsyncClient):
    """422 with one cause per field."""
    value = {**widget("a"), "spec": {"size": 0, "colour": "blue"}}
    status = failed(await client.post(WIDGETS, json=value), 422, "Invalid", 'Widget.example.com "a" is invalid: [')

    assert {cause["field"] for cause in status["details"]["causes"]} == {"spec.size", "spec.colour"}


async def test_unknown_fields_are_refused_warned_of_or_dropped(client: httpx.AsyncClient):
    """fieldValidation Strict, Warn (the default) and Ignore; the field is never stored."""
    value = {**widget("a"), "spec": {"size": 1, "sizze": 2}}
    expected = 'strict decoding error: unknown field "spec.sizze", did you mean "size"?'

    failed(await client.post(WIDGETS, json=value, params={"fieldValidation": "Strict"}), 400, "BadRequest", expected)
    twice = json.dumps(widget("a")).replace('"size": 1', '"size": 1, "size": 2').encode()
    answer = await client.post(WIDGETS, content=twice, params={"fieldValidation": "Strict"})
    failed(answer, 400, "BadRequest", 'duplicate field "spec.size"')

    warned = await client.post(WIDGETS, json=value)
    assert warned.headers["Warning"].startswith('299 - "unknown field \\"spec.sizze\\"')
    assert warned.json()["spec"] == {"size": 1, "colour": "red"}

    ignored = await client.post(
        WIDGETS, json={**value, "metadata": {"name": "b"}}, params={"fieldValidation": "Ignore"}
    )
    assert "Warning" not in ignored.headers
    failed(
        await client.post(WIDGETS, json=value, params={"fieldValidation": "No"}), 422, "Invalid", "Unsupported value"
    )


async def test_a_dry_run_changes_nothing(client: httpx.AsyncClient):
    """Every verb answers as if, and the store stays as it is."""
    dry = {"dryRun": "All"}
    assert (await create(client, WIDGETS, widget("a"), **dry))["metadata"]["uid"]
    failed(await client.get(f"{WIDGETS}/a"), 404, "NotFound")

    made = await create(client, WIDGETS, widget("a"))
    patched = await client.patch(f"{WIDGETS}/a", json={"spec": {"size": 5}}, headers=MERGE, params=dry)
    assert (patched.json()["spec"]["size"], patched.json()["metadata"]["generation"]) == (5, 2)
    assert (await client.put(f"{WIDGETS}/a", json={**made, "spec": {"size": 5}}, params=dry)).status_code == 200
    assert (await client.delete(f"{WIDGETS}/a", params=dry)).status_code == 200
    assert (await client.delete(WIDGETS, params=dry)).status_code == 200

    assert (await client.get(f"{WIDGETS}/a")).json() == made
    failed(await client.delete(f"{WIDGETS}/a", params={"dryRun": "Some"}), 422, "Invalid")


async def test_yaml_in_and_out(client: httpx.AsyncClient):
    """Bodies may be YAML; answers are when asked for."""
    text = yaml.safe_dump(widget("a"))
    answer = await client.post(
        WIDGETS, content=text, headers={"Content-Type": "application/yaml", "Accept": "application/yaml"}
    )

    assert answer.status_code == 201
    assert yaml.safe_load(answer.text)["metadata"]["name"] == "a"


# ── lists ────────────────────────────────────────────────────────────────────────────────────


async def test_pages_of_a_list_are_one_state(client: httpx.AsyncClient):
    """Every page has the first one's resourceVersion, whatever was written in between; the rest is counted."""
    for name in ("a", "b", "c"):
        await create(client, WIDGETS, widget(name))
    first = (await client.get(WIDGETS, params={"limit": "1"})).json()
    await client.delete(f"{WIDGETS}/b")
    await create(client, WIDGETS, widget("bb"))
    second = (await client.get(WIDGETS, params={"limit": "5", "continue": first["metadata"]["continue"]})).json()

    assert [item["metadata"]["name"] for item in first["items"] + second["items"]] == ["a", "b", "c"]
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert (first["metadata"]["remainingItemCount"], "continue" in second["metadata"]) == (2, False)


@pytest.mark.parametrize("number", ["many", str(2**63), "9" * 400, "9" * 5000])
@pytest.mark.parametrize("name", ["limit", "timeoutSeconds"])
async def test_a_number_that_is_none_is_400(client: httpx.AsyncClient, name: str, number: str):
    """So is one that no integer of Kubernetes' can hold."""
    answer = await client.get(WIDGETS, params={name: number})
    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")


async def test_a_continue_token_that_is_too_old_is_410_and_a_forged_one_400(tmp_path: Path):
    """Never a list with a hole in it."""
    async with run_api_server(tmp_path, history=10) as running:
        client = running.client
        for name in ("a", "b"):
            await create(client, WIDGETS, widget(name))
        token = (await client.get(WIDGETS, params={"limit": "1"})).json()["metadata"]["continue"]
        running.server._storage._compacted = running.server._storage.revision + 1

        failed(await client.get(WIDGETS, params={"continue": token}), 410, "Expired", "continue parameter is too old")
        failed(await client.get(WIDGETS, params={"continue": "bm9uc2Vuc2U"}), 400, "BadRequest", "continue key")


async def test_resource_version_match(client: httpx.AsyncClient):
    """Exact reads the past, NotOlderThan the present, the future is 504, contradictions are 422."""
    made = await create(client, WIDGETS, widget("a"))
    version = made["metadata"]["resourceVersion"]
    await client.delete(f"{WIDGETS}/a")

    async def names(**query: str) -> list[str]:
        found = (await client.get(WIDGETS, params=query)).json()["items"]
        return [item["metadata"]["name"] for item in found]

    assert await names(resourceVersion=version, resourceVersionMatch="Exact") == ["a"]
    assert await names(resourceVersion=version, resourceVersionMatch="NotOlderThan") == []
    assert await names(resourceVersion="0") == []
    failed(await client.get(WIDGETS, params={"resourceVersion": "99999"}), 504, "Timeout", "Too large resource version")
    failed(await client.get(WIDGETS, params={"resourceVersionMatch": "Exact"}), 422, "Invalid", "is forbidden unless")
    failed(await client.get(WIDGETS, params={"resourceVersion": "x"}), 400, "BadRequest")


async def test_selectors_scopes_and_forms(client: httpx.AsyncClient):
    """Labels and fields narrow a list; all namespaces widen it; Table and PartialObjectMetadata change its form."""
    await create(client, NAMESPACES, {"metadata": {"name": "other"}})
    await create(client, WIDGETS, widget("a", labels={"x": "1"}))
    await create(client, WIDGETS.replace("default", "other"), widget("b", namespace="other"))

    async def names(path: str, **query: str) -> list[str]:
        return [item["metadata"]["name"] for item in (await client.get(path, params=query)).json()["items"]]

    assert await names(ALL_WIDGETS) == ["a", "b"]
    assert await names(WIDGETS) == ["a"]
    assert await names(ALL_WIDGETS, labelSelector="x!=1") == ["b"]
    assert await names(ALL_WIDGETS, fieldSelector="metadata.namespace=other") == ["b"]
    failed(
        await client.get(WIDGETS, params={"fieldSelector": "spec.size=1"}),
        400,
        "BadRequest",
        "field label not supported",
    )

    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    table = (await client.get(WIDGETS, headers=accept)).json()
    assert (table["kind"], table["rows"][0]["cells"][:2]) == ("Table", ["a", 1])
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    whole = (await client.get(WIDGETS, headers=accept, params={"includeObject": "Object"})).json()
    assert whole["rows"][0]["object"]["spec"]["size"] == 1
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    partial = (await client.get(WIDGETS, headers=accept)).json()
    assert partial["kind"] == "PartialObjectMetadataList"
    assert "spec" not in partial["items"][0]


# ── deletion ─────────────────────────────────────────────────────────────────────────────────


async def test_finalizers_hold_an_object_until_the_last_is_gone(client: httpx.AsyncClient):
    """Marked at once, gone with the last finalizer; none can be added meanwhile."""
    path = f"{WIDGETS}/a"
    await create(client, WIDGETS, widget("a", finalizers=["example.com/one", "example.com/two"]))

    marked = (await client.delete(path)).json()
    assert marked["metadata"]["deletionTimestamp"]
    added = {"metadata": {"finalizers": ["example.com/one", "example.com/two", "example.com/three"]}}
    failed(await client.patch(path, json=added, headers=MERGE), 422, "Invalid", "no new finalizers can be added")
    one = await client.patch(path, json={"metadata": {"finalizers": ["example.com/one"]}}, headers=MERGE)
    assert one.json()["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    none = await client.patch(path, json={"metadata": {"finalizers": None}}, headers=MERGE)
    assert (none.status_code, "finalizers" in none.json()["metadata"]) == (200, False)
    failed(await client.get(path), 404, "NotFound", 'widgets.example.com "a" not found')


async def test_deletion_checks_its_preconditions(client: httpx.AsyncClient):
    """uid and resourceVersion protect what was made anew under the same name."""
    made = await create(client, WIDGETS, widget("a"))
    for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
        answer = await client.request("DELETE", f"{WIDGETS}/a", json={"preconditions": wrong})
        failed(answer, 409, "Conflict", "Precondition failed")
    right = {"preconditions": {"uid": made["metadata"]["uid"]}}

    answer = await client.request("DELETE", f"{WIDGETS}/a", json=right)

    assert (answer.status_code, answer.json()["status"]) == (200, "Success")
    assert answer.json()["details"] == {
        "name": "a",
        "group": "example.com",
        "kind": "widgets",
        "uid": made["metadata"]["uid"],
    }


async def test_a_namespace_takes_its_contents_with_it(client: httpx.AsyncClient):
    """Terminating while something in it is held; then gone, and nothing can be created in it meanwhile."""
    await create(client, NAMESPACES, {"metadata": {"name": "doomed"}})
    widgets = WIDGETS.replace("default", "doomed")
    await create(client, widgets, widget("free", namespace="doomed"))
    await create(client, widgets, widget("held", namespace="doomed", finalizers=["example.com/x"]))

    deleted = (await client.delete(f"{NAMESPACES}/doomed")).json()
    await until(client, f"{widgets}/free", 404)
    assert deleted["status"]["phase"] == "Terminating"
    failed(await client.post(widgets, json=widget("new", namespace="doomed")), 403, "Forbidden", "being terminated")
    assert (await client.get(f"{NAMESPACES}/doomed")).json()["status"]["phase"] == "Terminating"

    await client.patch(f"{widgets}/held", json={"metadata": {"finalizers": None}}, headers=MERGE)
    await until(client, f"{NAMESPACES}/doomed", 404)
    failed(await client.post(widgets, json=widget("new", namespace="doomed")), 404, "NotFound", 'namespaces "doomed"')
    failed(await client.delete(f"{NAMESPACES}/default"), 403, "Forbidden", "this namespace may not be deleted")


def owned(name: str, *owners: dict[str, Any]) -> dict[str, Any]:
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
        for owner in owners
    ]
    return config_map(name, ownerReferences=references)


async def test_dependents_follow_their_last_owner(client: httpx.AsyncClient):
    """Background is the default; a second owner keeps the object, Orphan sets it free, Foreground waits for it."""
    first = await create(client, CONFIG_MAPS, config_map("first"))
    second = await create(client, CONFIG_MAPS, config_map("second"))
    await create(client, CONFIG_MAPS, owned("child", first))
    child = (await client.get(f"{CONFIG_MAPS}/child")).json()
    await create(client, CONFIG_MAPS, owned("grandchild", child))
    await create(client, CONFIG_MAPS, owned("shared", first, second))

    await client.delete(f"{CONFIG_MAPS}/first")
    await until(client, f"{CONFIG_MAPS}/grandchild", 404)
    await until(client, f"{CONFIG_MAPS}/child", 404)
    shared = (await client.get(f"{CONFIG_MAPS}/shared")).json()
    assert [reference["name"] for reference in shared["metadata"]["ownerReferences"]] == ["second"]

    await client.delete(f"{CONFIG_MAPS}/second", params={"propagationPolicy": "Orphan"})
    assert "ownerReferences" not in (await client.get(f"{CONFIG_MAPS}/shared")).json()["metadata"]

    third = await create(client, CONFIG_MAPS, config_map("third"))
    await create(client, CONFIG_MAPS, owned("last", third))
    waiting = (await client.delete(f"{CONFIG_MAPS}/third", params={"propagationPolicy": "Foreground"})).json()
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    await until(client, f"{CONFIG_MAPS}/third", 404)
    await until(client, f"{CONFIG_MAPS}/last", 404)


async def test_a_collection_is_deleted_by_selector(client: httpx.AsyncClient):
    """And only what matches."""
    await create(client, WIDGETS, widget("a", labels={"x": "1"}))
    await create(client, WIDGETS, widget("b"))

    answer = await client.delete(WIDGETS, params={"labelSelector": "x=1"})

    assert [item["metadata"]["name"] for item in answer.json()["items"]] == ["a"]
    assert [item["metadata"]["name"] for item in (await client.get(WIDGETS)).json()["items"]] == ["b"]


# ── definitions ──────────────────────────────────────────────────────────────────────────────


async def test_a_definition_is_served_at_once_and_takes_its_objects_along(client: httpx.AsyncClient):
    """Created, used, deleted, created again: empty."""
    await client.delete(f"{CRDS}/widgets.example.com")
    await until(client, WIDGETS, 404)
    made = await create(client, CRDS, dict(WIDGET_CRD))
    conditions = {condition["type"]: condition["status"] for condition in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    await create(client, WIDGETS, widget("a"))
    listed = (await client.get("/apis/example.com/v1")).json()
    assert {entry["name"] for entry in listed["resources"]} == {"widgets", "widgets/status"}

    await client.delete(f"{CRDS}/widgets.example.com")
    await until(client, f"{CRDS}/widgets.example.com", 404)
    failed(await client.get(f"{WIDGETS}/a"), 404, "NotFound", "could not find the requested resource")

    await create(client, CRDS, dict(WIDGET_CRD))
    assert (await client.get(WIDGETS)).json()["items"] == []


async def test_an_invalid_definition_is_refused(client: httpx.AsyncClient):
    """And nothing of it is served."""
    broken = {**WIDGET_CRD, "metadata": {"name": "gadgets.example.com"}}

    failed(await client.post(CRDS, json=broken), 422, "Invalid")
    failed(await client.get(f"{CRDS}/gadgets.example.com"), 404, "NotFound")


# ── access and hygiene ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Bearer", "Basic " + TOKEN, TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"]
)
async def test_everything_is_closed_without_the_token(running: RunningApiServer, header: str | None):
    """401 for every path, known or not, and every method; health alone is open."""
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    context = ssl.create_default_context(cafile=str(running.tls.certificate))
    async with httpx.AsyncClient(base_url=running.url, verify=context, trust_env=False) as stranger:
        for path in ("/", "/api", "/apis", "/version", "/openapi/v2", "/openapi/v3", "/nothing", WIDGETS, "/readyz/x"):
            for method in ("GET", "POST", "HEAD", "OPTIONS"):
                answer = await stranger.request(method, path, headers=headers)
                assert answer.status_code == 401, (method, path)
            failed(await stranger.get(path, headers=headers), 401, "Unauthorized", "Unauthorized")
        assert (await stranger.get("/readyz")).text == "ok"


async def test_two_authorization_headers_are_none(running: RunningApiServer):
    """Which of them a proxy in between had checked is not known."""
    headers = [(b"Authorization", f"Bearer {TOKEN}".encode()), (b"Authorization", b"Bearer x")]
    context = ssl.create_default_context(cafile=str(running.tls.certificate))
    async with httpx.AsyncClient(base_url=running.url, verify=context, trust_env=False) as stranger:
        failed(await stranger.get("/version", headers=headers), 401, "Unauthorized")


def test_settings_do_not_show_the_token(tmp_path: Path):
    """A repr ends up in logs."""
    assert TOKEN not in repr(make_settings(tmp_path, make_tls_files(tmp_path)))


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", f"{WIDGETS}/a", "GET, HEAD, PUT, PATCH, DELETE"),
        ("PUT", WIDGETS, "GET, HEAD, POST, DELETE"),
        ("POST", ALL_WIDGETS, "GET, HEAD"),
        ("DELETE", ALL_WIDGETS, "GET, HEAD"),
        ("DELETE", f"{WIDGETS}/a/status", "GET, HEAD, PUT, PATCH"),
        ("OPTIONS", WIDGETS, "GET, HEAD, POST, DELETE"),
        ("POST", "/version", "GET"),
    ],
)
async def test_methods_that_there_are_not(client: httpx.AsyncClient, method: str, path: str, allowed: str):
    """405 names those that there are."""
    answer = await client.request(method, path)

    failed(answer, 405, "MethodNotAllowed")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api/v2/pods",
        "/apis/example.com/v1/gadgets",
        "/apis//v1/widgets",
        "/api/v1/namespaces//configmaps",
        "/api/v1/namespaces/default/namespaces",
        "/apis/example.com/v1/widgets/a",
        f"{WIDGETS}/a/scale",
        f"{WIDGETS}/a/status/more",
        "/api/v1/namespaces/default%2Fconfigmaps",
        "/%ff%fe",
        f"{WIDGETS}/..%2f..%2fsecrets",
    ],
)
async def test_paths_that_lead_nowhere(client: httpx.AsyncClient, path: str):
    """404, whatever is in them; an encoded slash separates nothing."""
    failed(await client.get(path), 404, "NotFound")


async def test_a_trailing_slash_changes_nothing(client: httpx.AsyncClient):
    """As in Kubernetes."""
    assert (await client.get(f"{WIDGETS}/")).json()["kind"] == "WidgetList"


@pytest.mark.parametrize(
    ("body", "media", "code", "reason"),
    [
        (b"", "application/json", 400, "BadRequest"),
        (b"{", "application/json", 400, "BadRequest"),
        (b"\xff\xfe", "application/json", 400, "BadRequest"),
        (b"[]", "application/json", 400, "BadRequest"),
        (b"null", "application/json", 400, "BadRequest"),
        (b'{"metadata":' * 100_000, "application/json", 400, "BadRequest"),
        (b"[" * 300 + b"]" * 300, "application/json", 400, "BadRequest"),
        (b"{" * 100_000, "application/yaml", 400, "BadRequest"),
        (b"a: &a [1]\nb: [*a, *a]", "application/yaml", 400, "BadRequest"),
        (b"a: [", "application/yaml", 400, "BadRequest"),
        (b"!!python/object:os.system {}", "application/yaml", 400, "BadRequest"),
        (b"x", "text/plain", 415, "UnsupportedMediaType"),
        (b"k8s\x00\xff\xff\xff", "application/vnd.kubernetes.protobuf", 400, "BadRequest"),
        (b"nothing", "application/vnd.kubernetes.protobuf", 400, "BadRequest"),
        (b"k8s\x00", "application/vnd.kubernetes.protobuf", 415, "UnsupportedMediaType"),
        (b'"' + b"x" * (3 * 1024 * 1024) + b'"', "application/json", 413, "RequestEntityTooLarge"),
    ],
)
async def test_bodies_that_are_no_object(client: httpx.AsyncClient, body: bytes, media: str, code: int, reason: str):
    """Refused in words; the server goes on."""
    failed(await client.post(WIDGETS, content=body, headers={"Content-Type": media}), code, reason)
    assert (await client.get("/readyz")).status_code == 200


async def test_an_endless_body_is_cut_off(client: httpx.AsyncClient):
    """A chunked body has no declared length; it is refused when it has become too long."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 65536

    answer = await client.post(WIDGETS, content=endless())

    failed(answer, 413, "RequestEntityTooLarge")


async def test_media_types_that_are_not_offered(client: httpx.AsyncClient):
    """406 for clients that read nothing of ours; those that prefer protobuf and accept JSON get JSON."""
    failed(await client.get(WIDGETS, headers={"Accept": "text/html"}), 406, "NotAcceptable", "application/json")
    failed(await client.get(WIDGETS, headers={"Accept": "application/vnd.kubernetes.protobuf"}), 406, "NotAcceptable")
    both = {"Accept": "application/vnd.kubernetes.protobuf,application/json"}
    assert (await client.get(WIDGETS, headers=both)).headers["content-type"] == "application/json"


async def test_openapi_of_version_two_is_json_or_what_kubectl_reads(client: httpx.AsyncClient):
    """It asks for a media type that is none, and takes the right one in the answer."""
    protobuf = "application/com.github.proto-openapi.spec.v2{}v1.0+protobuf"
    for accept, media in (
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        (protobuf.format("@"), protobuf.format(".")),
        (protobuf.format("."), protobuf.format(".")),
    ):
        answer = await client.get("/openapi/v2", headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, media)
    failed(await client.get("/openapi/v2", headers={"Accept": "text/html"}), 406, "NotAcceptable", "application/json")


# ── the server itself ────────────────────────────────────────────────────────────────────────


async def test_a_watch_hears_of_a_write_and_ends_with_the_server(tmp_path: Path):
    """Over the wire, and soon: the server does not wait for the client to go."""
    loop = asyncio.get_running_loop()
    async with run_api_server(tmp_path) as running:
        async with running.client.stream("GET", WIDGETS, params={"watch": "true"}) as stream:
            lines = stream.aiter_lines()
            await create(running.client, WIDGETS, widget("a"))
            event = json.loads(await anext(lines))
            assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")
            start = loop.time()
            await running.server.__aexit__(None, None, None)
            took = loop.time() - start
            assert [line async for line in lines] == []
        running.server.__class__ = _Stopped
    assert took < 5


class _Stopped(ApiServer):
    """A server that the test has stopped already."""

    async def __aexit__(self, *_: object) -> None:
        return


async def test_a_client_that_stops_reading_holds_up_nobody(tmp_path: Path):
    """Its watch stands still with a bounded backlog while others go on, and the server ends all the same."""
    loop = asyncio.get_running_loop()
    async with run_api_server(tmp_path) as running:
        path = f"{CONFIG_MAPS}/big"
        await create(running.client, CONFIG_MAPS, config_map("big"))
        async with running.client.stream("GET", CONFIG_MAPS, params={"watch": "true"}):
            for number in range(40):
                patch = {"data": {"fill": f"{number % 10}" * 900_000}}
                assert (await running.client.patch(path, json=patch, headers=MERGE)).status_code == 200
            (stalled,) = (
                connection
                for connection in running.server._server.server_state.connections
                if connection.flow.write_paused
            )
            assert stalled.transport.get_write_buffer_size() < 8 * 1024 * 1024
            start = loop.time()
            await running.server.__aexit__(None, None, None)
            took = loop.time() - start
        running.server.__class__ = _Stopped
    assert took < 1


async def test_a_watch_of_a_client_that_left_is_forgotten(running: RunningApiServer):
    """Nothing of it stays behind."""
    hub = running.server._hub
    async with running.client.stream("GET", WIDGETS, params={"watch": "true"}):
        assert hub._waiting
    async with asyncio.timeout(5):
        while hub._waiting:  # noqa: ASYNC110 - the hub tells nobody when it is left
            await asyncio.sleep(0.005)


async def test_a_restart_finds_everything(tmp_path: Path):
    """Objects, definitions that clients made, and the resourceVersion."""
    async with run_api_server(tmp_path, crds=()) as running:
        await create(running.client, CRDS, dict(WIDGET_CRD))
        made = await create(running.client, WIDGETS, widget("a"))
    async with run_api_server(tmp_path, crds=()) as running:
        assert (await running.client.get(f"{WIDGETS}/a")).json() == made
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


async def test_a_given_definition_replaces_the_stored_one(tmp_path: Path):
    """An upgrade brings its schemas along; without a change there is no new revision."""
    async with run_api_server(tmp_path) as running:
        before = (await running.client.get(f"{CRDS}/widgets.example.com")).json()
    async with run_api_server(tmp_path) as running:
        assert (await running.client.get(f"{CRDS}/widgets.example.com")).json() == before
    changed = json.loads(json.dumps(WIDGET_CRD))
    changed["spec"]["names"]["shortNames"] = ["wi"]
    async with run_api_server(tmp_path, crds=(changed,)) as running:
        after = (await running.client.get(f"{CRDS}/widgets.example.com")).json()
    assert after["spec"]["names"]["shortNames"] == ["wi"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_what_the_block_raises_leaves_it_unchanged(tmp_path: Path):
    """The server's own tasks wrap nothing into groups."""
    with pytest.raises(LookupError, match="mine"):
        async with run_api_server(tmp_path):
            raise LookupError("mine")


async def test_a_taken_port_is_named(tmp_path: Path):
    """And the message says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalMeshError, match=f"port {port} of 127.0.0.1 is already in use") as failure:
            async with run_api_server(tmp_path, port=port):
                pass
    assert failure.value.hint


@pytest.mark.parametrize("path", [f"{WIDGETS}/a", WIDGETS, ALL_WIDGETS, "/version"])
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str):
    """Code, type and length of what GET would answer (RFC 9110 section 9.3.2)."""
    await client.post(WIDGETS, json=widget("a"))
    got, head = await client.get(path), await client.head(path)

    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == got.headers[name]
    assert (await client.head(f"{WIDGETS}/none")).status_code == 404
    assert (await client.head(f"{WIDGETS}?watch=true")).status_code == 405


async def test_empty_metadata_is_not_stored(client: httpx.AsyncClient):
    """As from a Go struct with ``omitempty``: otherwise a diff would show what nobody wrote."""
    answer = await client.post(WIDGETS, json=widget("a", labels={}, annotations={}, finalizers=[], ownerReferences=[]))

    assert {"labels", "annotations", "finalizers", "ownerReferences"}.isdisjoint(answer.json()["metadata"])


async def test_a_body_of_unknown_fields_gets_a_bounded_answer(client: httpx.AsyncClient):
    """Thousands of them, and names of any length: the answer's headers stay within what clients take."""
    body = widget("a")
    body["spec"] |= {f"unknown{number}" + "x" * 500: 1 for number in range(2000)}
    warned = await client.post(WIDGETS, json=body)
    strict = await client.post(f"{WIDGETS}?fieldValidation=Strict", json={**body, "metadata": {"name": "b"}})

    assert warned.status_code == 201
    assert 0 < sum(map(len, warned.headers.get_list("warning"))) < 5000
    assert strict.json()["message"].count("unknown field") == 100
