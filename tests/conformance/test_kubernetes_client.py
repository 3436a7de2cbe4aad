"""The official Python client works against the embedded API server as against Kubernetes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from tests.support.apiserver import run_api_server, widget

WIDGETS = {"group": "example.com", "version": "v1", "namespace": "default", "plural": "widgets"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[client.ApiClient]:
    """The client blocks, so the tests run it in threads beside the server's loop."""
    async with run_api_server(tmp_path) as server:
        made = config.new_client_from_config(str(server.kubeconfig))
        yield made
        await asyncio.to_thread(made.close)


async def test_core_kinds(api: client.ApiClient):
    """Create, read, list, replace, patch and delete with typed models."""

    def session() -> None:
        core = client.CoreV1Api(api)
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="n")))
        secret = client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"k": "v"})
        made = core.create_namespaced_secret("n", secret)
        assert (made.data, made.type) == ({"k": "dg=="}, "Opaque")
        made.data["l"] = "dw=="
        assert core.replace_namespaced_secret("s", "n", made).data == {"k": "dg==", "l": "dw=="}
        with pytest.raises(ApiException) as conflict:
            core.replace_namespaced_secret("s", "n", made)
        assert (conflict.value.status, conflict.value.reason) == (409, "Conflict")
        core.patch_namespaced_secret("s", "n", {"data": {"k": None}})
        assert core.read_namespaced_secret("s", "n").data == {"l": "dw=="}
        found = core.list_secret_for_all_namespaces(field_selector="metadata.name=s").items
        assert [item.metadata.namespace for item in found] == ["n"]
        core.delete_namespaced_secret("s", "n")
        with pytest.raises(ApiException) as missing:
            core.read_namespaced_secret("s", "n")
        assert missing.value.status == 404

    await asyncio.to_thread(session)


async def test_custom_objects(api: client.ApiClient):
    """CustomObjectsApi: CRUD, status, both patches, lists with a limit."""

    def session() -> None:
        custom = client.CustomObjectsApi(api)
        for name in ("a", "b"):
            custom.create_namespaced_custom_object(**WIDGETS, body=widget(name))
        patched = custom.patch_namespaced_custom_object(**WIDGETS, name="a", body={"spec": {"size": 5}})
        assert patched["spec"]["size"] == 5
        operations = [{"op": "replace", "path": "/spec/size", "value": 6}]
        patched = custom.patch_namespaced_custom_object(
            **WIDGETS, name="a", body=operations, _content_type="application/json-patch+json"
        )
        assert patched["spec"]["size"] == 6
        status = custom.patch_namespaced_custom_object_status(**WIDGETS, name="a", body={"status": {"phase": "Up"}})
        assert status["status"] == {"phase": "Up"}
        page = custom.list_namespaced_custom_object(**WIDGETS, limit=1)
        rest = custom.list_namespaced_custom_object(**WIDGETS, limit=1, _continue=page["metadata"]["continue"])
        assert [item["metadata"]["name"] for item in page["items"] + rest["items"]] == ["a", "b"]
        with pytest.raises(ApiException) as invalid:
            custom.patch_namespaced_custom_object(**WIDGETS, name="a", body={"spec": {"size": 0}})
        assert invalid.value.status == 422
        custom.delete_namespaced_custom_object(**WIDGETS, name="a")

    await asyncio.to_thread(session)


async def test_watch(api: client.ApiClient):
    """The watch helper resumes by itself and sees every change in order."""

    def follow() -> list[tuple[str, str]]:
        custom = client.CustomObjectsApi(api)
        seen: list[tuple[str, str]] = []
        stream: Any = watch.Watch().stream(
            custom.list_namespaced_custom_object, **WIDGETS, resource_version=start, timeout_seconds=20
        )
        for event in stream:
            seen.append((event["type"], event["object"]["metadata"]["name"]))
            if event["type"] == "DELETED":
                break
        return seen

    def change() -> None:
        custom = client.CustomObjectsApi(api)
        custom.create_namespaced_custom_object(**WIDGETS, body=widget("b"))
        custom.patch_namespaced_custom_object(**WIDGETS, name="b", body={"spec": {"size": 2}})
        custom.delete_namespaced_custom_object(**WIDGETS, name="b")

    custom = client.CustomObjectsApi(api)
    made = await asyncio.to_thread(custom.create_namespaced_custom_object, **WIDGETS, body=widget("a"))
    start = made["metadata"]["resourceVersion"]
    seen, _ = await asyncio.gather(asyncio.to_thread(follow), asyncio.to_thread(change))

    assert seen == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]


async def test_definitions_and_dynamic_discovery(api: client.ApiClient):
    """The dynamic client finds our kinds by discovery."""

    def session() -> None:
        from kubernetes.dynamic import DynamicClient

        dynamic = DynamicClient(api)
        widgets = dynamic.resources.get(api_version="example.com/v1", kind="Widget")
        widgets.create(body=widget("a"), namespace="default")
        assert widgets.get(name="a", namespace="default").spec.size == 1
        crds = client.ApiextensionsV1Api(api).list_custom_resource_definition().items
        assert [crd.metadata.name for crd in crds] == ["widgets.example.com"]

    await asyncio.to_thread(session)
