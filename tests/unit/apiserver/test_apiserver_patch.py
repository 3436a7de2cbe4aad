"""Patches: the three kinds, what they change, what they refuse, and that they never change their argument."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.apiserver import WIDGET_CRD

from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.crd import resources_from_crd
from meshpass.apiserver.patch import PatchType, apply_patch, merge_patch, parse_patch_type
from meshpass.apiserver.status import StatusError
from meshpass.apiserver.strategic import strategic_merge

WIDGET = resources_from_crd(WIDGET_CRD)[0]
SCHEMAS = {resource.plural: resource.schema for resource in BUILTIN_RESOURCES}
CONFIG_MAP = next(resource for resource in BUILTIN_RESOURCES if resource.plural == "configmaps")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_follows_the_examples_of_rfc_7386(target: Any, patch: Any, expected: Any):
    """Appendix A."""
    assert merge_patch(target, patch) == expected


@given(target=_JSON, patch=_JSON)
def test_merge_patch_is_idempotent_and_pure(target: Any, patch: Any):
    """Twice is once, and neither argument changes."""
    before = copy.deepcopy((target, patch))
    once = merge_patch(target, patch)

    assert merge_patch(once, patch) == once
    assert (target, patch) == before


def thing(**fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, **fields}


def test_json_patch_changes_a_copy():
    """RFC 6902; the stored object is not touched."""
    current = thing(spec={"list": [1, 2]})
    patch = [
        {"op": "test", "path": "/spec/list/0", "value": 1},
        {"op": "add", "path": "/spec/list/-", "value": 3},
        {"op": "remove", "path": "/spec/list/0"},
    ]

    assert apply_patch(WIDGET, PatchType.JSON, current, patch)["spec"] == {"list": [2, 3]}
    assert current == thing(spec={"list": [1, 2]})


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ([{"op": "test", "path": "/metadata/name", "value": "b"}], 422),
        ([{"op": "remove", "path": "/nothing/here"}], 422),
        ([{"op": "replace", "path": "/metadata", "value": 1}], 400),
        ([{"op": "remove", "path": ""}], 422),
        ([{"op": "explode", "path": "/a"}], 400),
        ([{"path": "/a"}], 400),
        ([{"op": "add", "path": "a", "value": 1}], 400),
        ([1], 400),
        ({"op": "add"}, 400),
        ([{"op": "add", "path": "/a", "value": 1}] * 10_001, 413),
    ],
)
def test_json_patches_that_cannot_be_applied_are_refused(patch: Any, code: int):
    """400 for what is no patch or leaves no object, 422 for what does not apply, 413 for too much."""
    with pytest.raises(StatusError) as failure:
        apply_patch(WIDGET, PatchType.JSON, thing(), patch)

    assert failure.value.code == code


def test_a_json_patch_cannot_be_made_to_cost_much():
    """Doubling by copy is how a few bytes ask for gigabytes; the result is bounded."""
    patch = [{"op": "add", "path": "/a", "value": "x" * 1000}]
    for _ in range(40):
        patch += [{"op": "add", "path": "/b", "value": {}}, {"op": "copy", "from": "/a", "path": "/b/l"}]
        patch += [{"op": "copy", "from": "/a", "path": "/b/r"}, {"op": "move", "from": "/b", "path": "/a"}]

    with pytest.raises(StatusError) as failure:
        apply_patch(WIDGET, PatchType.JSON, thing(), patch)

    assert failure.value.code == 413


def test_media_types_by_kind():
    """Custom resources have no strategic merge patch; a configuration is applied as YAML, and nothing else."""
    assert parse_patch_type("application/strategic-merge-patch+json", CONFIG_MAP) is PatchType.STRATEGIC
    for media, resource in (
        ("application/strategic-merge-patch+json", WIDGET),
        ("application/json", CONFIG_MAP),
        ("application/apply-patch+cbor", CONFIG_MAP),
    ):
        with pytest.raises(StatusError) as failure:
            parse_patch_type(media, resource)
        assert failure.value.code == 415
    assert str(failure.value).endswith("application/apply-patch+yaml")


PODS = {
    "spec": {
        "containers": [
            {"name": "app", "image": "a:1", "ports": [{"containerPort": 80, "name": "web"}], "args": ["x"]},
            {"name": "proxy", "image": "p:1"},
        ]
    }
}


@pytest.mark.parametrize(
    ("plural", "current", "patch", "expected"),
    [
        pytest.param(
            "pods",
            PODS,
            {"spec": {"containers": [{"name": "proxy", "image": "p:2"}]}},
            {"spec": {"containers": [PODS["spec"]["containers"][0], {"name": "proxy", "image": "p:2"}]}},
            id="items merge by name",
        ),
        pytest.param(
            "pods",
            PODS,
            {"spec": {"containers": [{"name": "app", "$patch": "delete"}]}},
            {"spec": {"containers": [{"name": "proxy", "image": "p:1"}]}},
            id="an item is deleted",
        ),
        pytest.param(
            "pods",
            PODS,
            {"spec": {"containers": [{"$patch": "replace"}, {"name": "new", "image": "n"}]}},
            {"spec": {"containers": [{"name": "new", "image": "n"}]}},
            id="a list is replaced",
        ),
        pytest.param(
            "pods",
            PODS,
            {"spec": {"containers": [{"name": "app", "args": ["y"], "ports": [{"containerPort": 81}]}]}},
            {
                "spec": {
                    "containers": [
                        {
                            "name": "app",
                            "image": "a:1",
                            "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 81}],
                            "args": ["y"],
                        },
                        {"name": "proxy", "image": "p:1"},
                    ]
                }
            },
            id="ports merge by containerPort and plain lists are replaced",
        ),
        pytest.param(
            "pods",
            PODS,
            {
                "spec": {
                    "$setElementOrder/containers": [{"name": "new"}, {"name": "proxy"}, {"name": "app"}],
                    "containers": [{"name": "new"}],
                }
            },
            {"spec": {"containers": [{"name": "new"}, *reversed(PODS["spec"]["containers"])]}},
            id="element order",
        ),
        pytest.param(
            "pods",
            {"metadata": {"finalizers": ["a/a", "b/b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"], "finalizers": ["c/c"]}},
            {"metadata": {"finalizers": ["b/b", "c/c"]}},
            id="finalizers are a set",
        ),
        pytest.param(
            "deployments",
            {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}},
            {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
            {"spec": {"strategy": {"type": "Recreate"}}},
            id="retained keys",
        ),
        pytest.param(
            "configmaps",
            {"data": {"a": "1", "b": "2"}},
            {"data": {"$patch": "replace", "c": "3"}},
            {"data": {"c": "3"}},
            id="replace",
        ),
        pytest.param("configmaps", {"data": {"a": "1"}}, {"data": {"a": None}}, {"data": {}}, id="null deletes"),
        pytest.param(
            "services",
            {"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81}]}},
            {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}},
            {"spec": {"ports": [{"port": 80, "name": "a", "targetPort": 8080}, {"port": 81}]}},
            id="service ports merge by port",
        ),
        pytest.param(
            "endpointslices",
            {"ports": [{"port": 80}], "endpoints": [{"addresses": ["1"]}]},
            {"ports": [{"port": 81}], "endpoints": [{"addresses": ["2"]}]},
            {"ports": [{"port": 81}], "endpoints": [{"addresses": ["2"]}]},
            id="the lists of an EndpointSlice are atomic",
        ),
        pytest.param(
            "deployments",
            {"spec": {"template": PODS}},
            {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": [{"name": "A", "value": "1"}]}]}}}},
            {
                "spec": {
                    "template": {
                        "spec": {
                            "containers": [
                                {**PODS["spec"]["containers"][0], "env": [{"name": "A", "value": "1"}]},
                                PODS["spec"]["containers"][1],
                            ]
                        }
                    }
                }
            },
            id="wherever a Pod's spec stands",
        ),
        pytest.param(
            "services",
            {"status": {"containers": [{"name": "a"}]}},
            {"status": {"containers": [{"name": "b"}]}},
            {"status": {"containers": [{"name": "b"}]}},
            id="a name alone means nothing",
        ),
    ],
)
def test_strategic_merge(plural: str, current: Any, patch: Any, expected: Any):
    """What the patch tags of the core kinds mean; the stored object is not touched."""
    before = copy.deepcopy(current)

    assert strategic_merge(SCHEMAS[plural], current, patch) == expected
    assert current == before


@pytest.mark.parametrize(
    "patch",
    [{"spec": {"containers": [{"image": "nameless"}]}}, {"spec": {"$patch": "explode"}}, {"spec": {"$retainKeys": 1}}],
)
def test_strategic_patches_that_make_no_sense_are_400(patch: Any):
    """An item without its merge key cannot be told from the others."""
    with pytest.raises(StatusError) as failure:
        strategic_merge(SCHEMAS["pods"], PODS, patch)

    assert failure.value.code == 400
