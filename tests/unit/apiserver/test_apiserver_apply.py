"""Server-side apply over HTTP: parameters, conflicts, ownership in what is stored and watched, hostile configurations."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import yaml
from tests.support.apiserver import WIDGET_CRD, run_api_server, widget

APPLY = "application/apply-patch+yaml"
WIDGET = "/apis/example.com/v1/namespaces/default/widgets/a"
CONFIG_MAP = "/api/v1/namespaces/default/configmaps/a"
SERVICE = "/api/v1/namespaces/default/services/a"
MERGE = {"Content-Type": "application/merge-patch+json"}
TEXT = {"type": "string"}


def widgets_with_parts() -> dict[str, Any]:
    """The widget definition with lists of every kind, and a rule."""
    crd: dict[str, Any] = copy.deepcopy(dict(WIDGET_CRD))
    version = crd["spec"]["versions"][0]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    part = {"type": "object", "required": ["name"], "properties": {"name": TEXT, "weight": {"type": "integer"}}}
    spec["properties"] |= {
        "parts": {"type": "array", "items": part},
        "keyed": {
            "type": "array",
            "items": part,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
        "tags": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
        "whole": {"type": "object", "additionalProperties": TEXT, "x-kubernetes-map-type": "atomic"},
    }
    spec["x-kubernetes-validations"] = [{"rule": "self.size < 100", "message": "too big"}]
    return crd


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with run_api_server(tmp_path, crds=(widgets_with_parts(),)) as started:
        yield started.client


async def apply(
    client: httpx.AsyncClient, path: str, config: Any, *, manager: str = "one", **query: Any
) -> httpx.Response:
    content = config if isinstance(config, (str, bytes)) else yaml.safe_dump(config)
    return await client.patch(
        path, content=content, headers={"Content-Type": APPLY}, params={"fieldManager": manager, **query}
    )


async def applied(
    client: httpx.AsyncClient, path: str, config: Any, *, code: int = 200, **query: Any
) -> dict[str, Any]:
    answer = await apply(client, path, config, **query)
    assert answer.status_code == code, answer.text
    stored: dict[str, Any] = answer.json()
    return stored


def of_widget(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec}


def of_config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def managers(stored: Mapping[str, Any]) -> dict[tuple[str, str, str], Any]:
    """What is owned, by name, operation and subresource."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in stored["metadata"].get("managedFields", ())
    }


async def test_apply_creates_and_updates(client: httpx.AsyncClient):
    """201 and then 200; fields are whoever's applied them, and gone when nobody does any more; defaults are nobody's."""
    made = await applied(client, WIDGET, of_widget(size=1, parts=[{"name": "x"}]), code=201)

    assert made["spec"] == {"size": 1, "colour": "red", "parts": [{"name": "x"}]}
    assert made["metadata"]["generation"] == 1
    [entry] = made["metadata"]["managedFields"]
    assert list(entry) == ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1"]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("one", "Apply", "example.com/v1")
    assert entry["fieldsV1"] == {"f:spec": {"f:parts": {}, "f:size": {}}}

    changed = await applied(client, WIDGET, of_widget(size=2, colour="green"))
    assert changed["spec"] == {"size": 2, "colour": "green"}
    assert changed["metadata"]["generation"] == 2
    again = await applied(client, WIDGET, of_widget(size=2))
    assert again["spec"] == {"size": 2, "colour": "red"}
    assert (await client.get(WIDGET)).json() == again


async def test_an_apply_that_changes_nothing_is_no_revision(client: httpx.AsyncClient):
    """Neither the resourceVersion nor the time of the manager moves; nor does an update that changes nothing."""
    made = await applied(client, WIDGET, of_widget(size=1), code=201)
    entry = made["metadata"]["managedFields"][0]
    # The time alone would be no change either.
    old = {**made["metadata"], "labels": {"x": "y"}, "managedFields": [{**entry, "time": "2020-01-01T00:00:00Z"}]}
    aged = (await client.put(WIDGET, json={**made, "metadata": old})).json()
    assert aged["metadata"]["managedFields"][0]["time"] == "2020-01-01T00:00:00Z"

    again = await applied(client, WIDGET, of_widget(size=1))
    put = (await client.put(WIDGET, json=again)).json()
    patched = (await client.patch(WIDGET, json={"spec": {"size": 1}}, headers=MERGE)).json()

    assert again == put == patched == aged


async def test_a_conflict_names_manager_and_field(client: httpx.AsyncClient):
    """409 with a cause for each; ``force`` takes the fields; the same value is shared instead."""
    await applied(client, WIDGET, of_widget(size=1, colour="red"), code=201)
    shared = await applied(client, WIDGET, of_widget(size=1), manager="two")
    assert managers(shared)["two", "Apply", ""] == {"f:spec": {"f:size": {}}}

    answer = await apply(client, WIDGET, of_widget(size=2), manager="three")
    status = answer.json()
    assert (answer.status_code, status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        'Apply failed with 2 conflicts: conflicts with "one":\n- .spec.size\nconflicts with "two":\n- .spec.size'
    )
    assert status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{name}"', "field": ".spec.size"}
        for name in ("one", "two")
    ]
    forced = await applied(client, WIDGET, of_widget(size=2), manager="three", force="true")
    assert forced["spec"] == {"size": 2, "colour": "red"}
    assert managers(forced) == {
        ("one", "Apply", ""): {"f:spec": {"f:colour": {}}},
        ("three", "Apply", ""): {"f:spec": {"f:size": {}}},
    }


async def test_ordinary_writes_own_what_they_change(client: httpx.AsyncClient):
    """Under their fieldManager or the User-Agent's first word; an apply that would change that is a conflict."""
    await client.post(
        "/api/v1/namespaces/default/configmaps",
        json=of_config_map(a="1", b="1"),
        headers={"User-Agent": "maker/1.0 (x)"},
    )
    await client.patch(CONFIG_MAP, json={"data": {"b": "2"}}, headers=MERGE, params={"fieldManager": "patcher"})

    answer = await apply(client, CONFIG_MAP, of_config_map(b="3"))
    assert answer.json()["message"] == 'Apply failed with 1 conflict: conflict with "patcher" using v1: .data.b'
    stored = (await client.get(CONFIG_MAP)).json()
    assert managers(stored) == {
        ("maker", "Update", ""): {"f:data": {".": {}, "f:a": {}}},
        ("patcher", "Update", ""): {"f:data": {"f:b": {}}},
    }


async def test_lists_are_merged_as_their_schema_says(client: httpx.AsyncClient):
    """Keyed lists and sets item by item, atomic lists and maps whole."""
    first = of_widget(
        size=1,
        keyed=[{"name": "x", "weight": 1}, {"name": "y"}],
        tags=["p", "q"],
        whole={"a": "1"},
        parts=[{"name": "x"}],
    )
    await applied(client, WIDGET, first, code=201)

    both = await applied(client, WIDGET, of_widget(size=1, keyed=[{"name": "z"}], tags=["r"]), manager="two")
    assert both["spec"]["keyed"] == [{"name": "x", "weight": 1}, {"name": "y"}, {"name": "z"}]
    assert both["spec"]["tags"] == ["p", "q", "r"]
    for spec, field in ({"whole": {"b": "1"}}, ".spec.whole"), ({"parts": [{"name": "y"}]}, ".spec.parts"):
        answer = await apply(client, WIDGET, of_widget(size=1, **spec), manager="two")
        assert [cause["field"] for cause in answer.json()["details"]["causes"]] == [field]
    left = await applied(client, WIDGET, of_widget(size=1, keyed=[{"name": "y"}], tags=["q"]))
    assert left["spec"] == {"size": 1, "colour": "red", "keyed": [{"name": "y"}, {"name": "z"}], "tags": ["q", "r"]}


async def test_ports_are_told_apart_by_their_default_protocol(client: httpx.AsyncClient):
    """Two managers of one Service, one of whom leaves out what is TCP by default."""

    def service(*ports: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "a"},
            "spec": {"ports": list(ports), **more},
        }

    http = {"name": "http", "port": 80}
    dns = {"name": "dns", "port": 80, "protocol": "UDP"}
    await applied(client, SERVICE, service(http, selector={"app": "a"}), code=201)
    both = await applied(client, SERVICE, service(dns), manager="two")

    assert [(port["name"], port["protocol"]) for port in both["spec"]["ports"]] == [("http", "TCP"), ("dns", "UDP")]
    left = await applied(client, SERVICE, service(selector={"app": "a"}))
    assert [port["name"] for port in left["spec"]["ports"]] == ["dns"]
    answer = await apply(client, SERVICE, service(selector={"other": "b"}), manager="two")
    assert answer.json()["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.selector'


async def test_status_is_applied_through_its_subresource(client: httpx.AsyncClient):
    """There it is all that counts, and on the object's own URL it counts for nothing."""
    ready = of_widget(size=7) | {"status": {"phase": "Ready"}}
    assert (await apply(client, f"{WIDGET}/status", ready)).status_code == 404
    made = await applied(client, WIDGET, ready, code=201)
    assert "status" not in made

    told = await applied(client, f"{WIDGET}/status", of_widget(size=9) | {"status": {"phase": "Ready"}})
    assert (told["spec"]["size"], told["status"], told["metadata"]["generation"]) == (7, {"phase": "Ready"}, 1)
    assert managers(told) == {
        ("one", "Apply", ""): {"f:spec": {"f:size": {}}},
        ("one", "Apply", "status"): {"f:status": {"f:phase": {}}},
    }
    answer = await apply(client, f"{WIDGET}/status", of_widget() | {"status": {"phase": "Lost"}}, manager="two")
    assert answer.json()["message"] == (
        'Apply failed with 1 conflict: conflict with "one" with subresource "status": .status.phase'
    )
    gone = await applied(client, f"{WIDGET}/status", of_widget())
    assert not gone.get("status")
    assert ("one", "Apply", "status") not in managers(gone)


async def test_a_dry_run_stores_nothing(client: httpx.AsyncClient):
    """Of a new object and of a stored one."""
    made = await applied(client, WIDGET, of_widget(size=1), code=201, dryRun="All")
    assert made["spec"]["size"] == 1
    assert (await client.get(WIDGET)).status_code == 404
    stored = await applied(client, WIDGET, of_widget(size=1), code=201)
    assert (await applied(client, WIDGET, of_widget(size=2), dryRun="All"))["spec"]["size"] == 2
    assert (await client.get(WIDGET)).json() == stored


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ({"fieldManager": ""}, 422, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'),
        ({"fieldManager": "x" * 129}, 422, "fieldManager: Too long: may not be more than 128 bytes"),
        ({"fieldManager": "a\nb"}, 422, 'fieldManager: Invalid value: "a\\nb": should only contain printable characters'),
        ({"dryRun": "Some"}, 422, 'dryRun: Unsupported value: "Some"'),
        ({"fieldValidation": "Some"}, 422, 'fieldValidation: Unsupported value: "Some"'),
    ],
)  # fmt: skip
async def test_parameters_are_checked(client: httpx.AsyncClient, query: dict[str, str], code: int, message: str):
    """As Kubernetes' ValidatePatchOptions does."""
    answer = await client.patch(
        WIDGET, content=yaml.safe_dump(of_widget(size=1)), headers={"Content-Type": APPLY}, params={"fieldManager": "one", **query}
    )  # fmt: skip

    assert answer.status_code == code
    assert message in answer.json()["message"]


async def test_other_patches_have_no_force(client: httpx.AsyncClient):
    """It would promise what they do anyway."""
    await applied(client, WIDGET, of_widget(size=1), code=201)
    answer = await client.patch(WIDGET, json={}, headers=MERGE, params={"force": "true"})

    assert answer.status_code == 422
    assert "force: Forbidden: may not be specified for non-apply patch" in answer.json()["message"]


UID = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    ("metadata", "new", "code", "message"),
    [
        ({"resourceVersion": "1"}, False, 409, "the object has been modified"),
        ({"uid": UID}, False, 409, f"Precondition failed: UID in precondition: {UID}, UID in object meta: "),
        ({"uid": UID}, True, 409, f"uid mismatch: the provided object specified uid {UID}, and no existing object"),
        ({"resourceVersion": "1"}, True, 409, "the object has been modified"),
        ({"managedFields": []}, True, 400, "metadata.managedFields must be nil"),
        ({"name": "b"}, True, 400, "the name of the object (b) does not match the name on the URL (a)"),
        ({"namespace": "b"}, True, 400, "the namespace of the provided object does not match"),
        ({"labels": {"x": 1}}, True, 400, "cannot unmarshal number"),
    ],
)
async def test_metadata_of_a_configuration_is_checked(
    client: httpx.AsyncClient, metadata: dict[str, Any], new: bool, code: int, message: str
):
    """Preconditions that do not hold are a conflict, and nothing is stored."""
    if not new:
        await applied(client, WIDGET, of_widget(size=1), code=201)
    config = of_widget(size=2)
    config["metadata"] |= metadata

    answer = await apply(client, WIDGET, config, force="true")

    assert answer.status_code == code, answer.text
    assert message in answer.json()["message"]
    stored = await client.get(WIDGET)
    assert stored.status_code == 404 if new else stored.json()["spec"]["size"] == 1


async def test_preconditions_that_hold_and_what_the_server_owns_are_nobodys(client: httpx.AsyncClient):
    """A configuration may carry all the metadata that a stored object has."""
    made = await applied(client, WIDGET, of_widget(size=1), code=201)
    metadata = {name: value for name, value in made["metadata"].items() if name != "managedFields"}

    again = await applied(client, WIDGET, of_widget(size=1) | {"metadata": {**metadata, "generation": 9}})

    assert again == made


@pytest.mark.parametrize(
    ("config", "code", "message"),
    [
        (of_widget(size=1, sise=2), 400, "failed to create typed patch object (default/a; example.com/v1, Kind=Widget): .spec.sise: field not declared in schema"),
        (of_widget(size=1, keyed=[{"name": "x"}, {"name": "x"}]), 400, '.spec.keyed: duplicate entries for key [name="x"]'),
        (of_widget(size=1, keyed=[{"weight": 1}]), 400, 'omits key field "name"'),
        (of_widget(size=1, keyed={}, tags="x"), 400, "errors:\n  .spec.keyed: expected list, got a map type\n  .spec.tags: expected list, got a string"),
        (of_widget(size="x"), 422, "spec.size"),
        (of_widget(size=0), 422, "spec.size: Invalid value: 0"),
        (of_widget(size=100), 422, "spec: Invalid value: "),
        (of_widget(), 422, "spec.size: Required value"),
        ({**of_widget(size=1), "kind": "Gadget"}, 400, "the kind in the data (Gadget) does not match"),
        ({**of_widget(size=1), "kind": None}, 400, "Object 'Kind' is missing"),
        ({**of_widget(size=1), "apiVersion": "example.com/v2"}, 400, "does not match the expected API version"),
        ([], 400, "unrecognized"),
        ("{", 400, "error"),
        ("a: &x [*x]", 400, "alias"),
        ("{" * 100_000, 400, "levels deep"),
        (b"\xff\xfe\x00", 400, "error"),
        ("x: " + "a" * 3 * 1024 * 1024, 413, "limit"),
    ],
)  # fmt: skip
async def test_configurations_that_are_none_are_refused(
    client: httpx.AsyncClient, config: Any, code: int, message: str
):
    """Before they are merged, or by the schema and its rules after."""
    answer = await apply(client, WIDGET, config)

    assert answer.status_code == code, answer.text
    assert message in answer.json()["message"]
    assert (await client.get(WIDGET)).status_code == 404


async def test_fields_that_are_there_twice_are_told(client: httpx.AsyncClient):
    """Refused under Strict, warned of by default, ignored under Ignore."""
    text = "apiVersion: v1\nkind: ConfigMap\ndata: {a: '1', a: '2'}\n"

    strict = await apply(client, CONFIG_MAP, text, fieldValidation="Strict")
    assert strict.status_code == 400
    assert 'error strict decoding YAML: duplicate field "data.a"' in strict.json()["message"]
    warned = await apply(client, CONFIG_MAP, text)
    assert (warned.status_code, warned.headers["Warning"]) == (201, '299 - "duplicate field \\"data.a\\""')
    assert "Warning" not in (await apply(client, CONFIG_MAP, text, fieldValidation="Ignore")).headers


async def test_yaml_and_json_are_both_read_and_cbor_is_not(client: httpx.AsyncClient):
    """JSON is YAML; so is what only looks like JSON."""
    await applied(client, CONFIG_MAP, json.dumps(of_config_map(a="1")), code=201)
    flow = "{apiVersion: v1, kind: ConfigMap, data: {a: '2'}}"
    assert (await applied(client, CONFIG_MAP, flow))["data"] == {"a": "2"}
    answer = await client.patch(
        CONFIG_MAP, content=b"", headers={"Content-Type": "application/apply-patch+cbor"}, params={"fieldManager": "x"}
    )
    assert (answer.status_code, answer.json()["reason"]) == (415, "UnsupportedMediaType")


async def test_owners_are_reset_by_an_empty_list(client: httpx.AsyncClient):
    """Through any write to the object; the next apply finds everything owned by before-first-apply."""
    made = await applied(client, CONFIG_MAP, of_config_map(a="1"), code=201)
    for empty in ([], [{}]):
        answer = await client.patch(CONFIG_MAP, json={"metadata": {"managedFields": empty}}, headers=MERGE)
        assert "managedFields" not in answer.json()["metadata"]
        assert int(answer.json()["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
        answer = await apply(client, CONFIG_MAP, of_config_map(a="2"))
        assert 'conflict with "before-first-apply" using v1: .data.a' in answer.json()["message"]
        made = await applied(client, CONFIG_MAP, of_config_map(a="1"))


async def test_managed_fields_with_names_that_are_too_long_are_refused(client: httpx.AsyncClient):
    """Every other fault has them ignored; this one Kubernetes validates."""
    made = await applied(client, CONFIG_MAP, of_config_map(a="1"), code=201)
    entry = {**made["metadata"]["managedFields"][0], "manager": "x" * 129}
    answer = await client.patch(CONFIG_MAP, json={"metadata": {"managedFields": [entry]}}, headers=MERGE)

    assert answer.status_code == 422
    assert "metadata.managedFields[0].manager: Too long" in answer.json()["message"]


async def test_watches_and_lists_carry_managed_fields(client: httpx.AsyncClient):
    """As every other field of metadata."""
    made = await applied(client, WIDGET, of_widget(size=1), code=201)
    path = "/apis/example.com/v1/namespaces/default/widgets"
    listed = (await client.get(path)).json()
    assert listed["items"][0]["metadata"]["managedFields"] == made["metadata"]["managedFields"]
    query = {"watch": "true", "resourceVersion": made["metadata"]["resourceVersion"], "timeoutSeconds": "1"}
    changed = await applied(client, WIDGET, of_widget(size=2), manager="one")
    async with client.stream("GET", path, params=query) as stream:
        event = json.loads(await anext(aiter(stream.aiter_lines())))
    assert event["object"]["metadata"]["managedFields"] == changed["metadata"]["managedFields"]


async def test_applying_the_last_finalizer_away_ends_a_deletion(client: httpx.AsyncClient):
    """Finalizers are a set, and owned one by one."""
    config = of_widget(size=1)
    await applied(client, WIDGET, config | {"metadata": {"name": "a", "finalizers": ["example.com/x"]}}, code=201)
    other = {**config, "metadata": {"name": "a", "finalizers": ["example.com/y"]}}
    both = await applied(client, WIDGET, other, manager="two")
    assert both["metadata"]["finalizers"] == ["example.com/x", "example.com/y"]
    await client.delete(WIDGET)
    await applied(client, WIDGET, config)
    assert (await client.get(WIDGET)).json()["metadata"]["finalizers"] == ["example.com/y"]
    await applied(client, WIDGET, config, manager="two")
    assert (await client.get(WIDGET)).status_code == 404


async def test_many_managers_cannot_outgrow_an_object(client: httpx.AsyncClient):
    """What they own is limited like a body: 413, and the object stays as it is."""
    await applied(client, WIDGET, of_widget(size=1), code=201)
    labels = {f"{index:05}-{'x' * 50}": "" for index in range(12_000)}
    codes = []
    for index in range(6):
        config = of_widget(size=1)
        config["metadata"]["labels"] = labels
        codes.append((await apply(client, WIDGET, json.dumps(config), manager=f"m{index}")).status_code)
        if codes[-1] != 200:
            break

    assert codes == [200, 200, 200, 200, 413]
    assert len((await client.get(WIDGET)).json()["metadata"]["managedFields"]) == 5


async def test_a_small_part_of_a_large_object_is_owned_in_few_bytes(client: httpx.AsyncClient):
    """Lists without a type are one field, however long: 5,000 parts add a few hundred bytes."""
    made = await applied(client, WIDGET, of_widget(size=1, parts=[{"name": f"x{n}"} for n in range(5000)]), code=201)
    posted = await client.post(
        "/apis/example.com/v1/namespaces/default/widgets",
        json={**widget("b"), "spec": {"size": 1, "parts": made["spec"]["parts"]}},
    )

    for stored in (made, posted.json()):
        assert len(json.dumps(stored["metadata"]["managedFields"])) < 400


LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


async def annotated(client: httpx.AsyncClient, text: str, **data: str) -> None:
    """A ConfigMap as a client-side apply leaves it."""
    value = of_config_map(**data)
    value["metadata"]["annotations"] = {LAST_APPLIED: text}
    answer = await client.post(
        "/api/v1/namespaces/default/configmaps", json=value, params={"fieldManager": "kubectl-client-side-apply"}
    )
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("text", "manager", "code"),
    [
        (json.dumps(of_config_map(a="1")), "kubectl", 200),
        (json.dumps(of_config_map(a="1")), "other", 409),
        (json.dumps(of_config_map(a="0")), "kubectl", 409),
        (json.dumps(of_config_map(b="1")), "kubectl", 409),
        (json.dumps({**of_config_map(a="1"), "apiVersion": "v2"}), "kubectl", 409),
        ("{", "kubectl", 409),
        ("[]", "kubectl", 409),
        ("[" * 100_000, "kubectl", 409),
        ("", "kubectl", 409),
    ],
)
async def test_what_kubectl_applied_on_the_clients_side_is_its_own(
    client: httpx.AsyncClient, text: str, manager: str, code: int
):
    """As far as the annotation says so and the object still is so; for no other manager."""
    await annotated(client, text, a="1")

    answer = await apply(client, CONFIG_MAP, of_config_map(a="2"), manager=manager)

    assert answer.status_code == code, answer.text
    if code == 409:
        assert answer.json()["message"] == (
            'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using v1: .data.a'
        )


async def test_the_annotation_says_what_kubectl_applied_last(client: httpx.AsyncClient):
    """Whichever way it did; it goes when it would become too long, and others do not touch it."""
    await annotated(client, json.dumps(of_config_map(a="1")), a="1")
    config = of_config_map(a="2")
    changed = await applied(client, CONFIG_MAP, config, manager="kubectl")
    config["metadata"]["namespace"] = "default"
    assert json.loads(changed["metadata"]["annotations"][LAST_APPLIED]) == config
    other = await applied(client, CONFIG_MAP, of_config_map(b="1"), manager="other")
    assert other["metadata"]["annotations"] == changed["metadata"]["annotations"]

    long = await applied(client, CONFIG_MAP, of_config_map(a="x" * 300_000), manager="kubectl")
    assert LAST_APPLIED not in long["metadata"].get("annotations", {})


async def test_a_list_that_became_one_field_is_its_managers_whole(client: httpx.AsyncClient):
    """A definition may change its mind: who owned an item owns the list then."""
    await applied(client, WIDGET, of_widget(size=1, keyed=[{"name": "x"}]), code=201)
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com"
    schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/keyed"
    answer = await client.patch(
        crd,
        json=[
            {"op": "remove", "path": f"{schema}/x-kubernetes-list-type"},
            {"op": "remove", "path": f"{schema}/x-kubernetes-list-map-keys"},
        ],
        headers={"Content-Type": "application/json-patch+json"},
    )
    assert answer.status_code == 200, answer.text

    refused = await apply(client, WIDGET, of_widget(size=1, keyed=[{"name": "y"}]), manager="two")
    assert refused.json()["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.keyed'
    left = await applied(client, WIDGET, of_widget(size=1))
    assert "keyed" not in left["spec"]


async def test_true_is_not_one(client: httpx.AsyncClient):
    """A write that changes nothing but the type of a value changes something."""
    path = f"{WIDGET}/status"
    await applied(client, WIDGET, of_widget(size=1), code=201)
    for value in (1, True, 1.5, "1", None):
        conditions = [{"type": "x", "value": value}]
        stored = await applied(client, path, of_widget() | {"status": {"conditions": conditions}})
        assert json.dumps(stored["status"]["conditions"]) == json.dumps(conditions)
