"""kubectl with our own kinds: what a platform engineer types every day."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.apiserver import run_api_server
from tests.support.kubectl import KUBECTL_MARKS, Kubectl, cells

from meshpass.api.crd import custom_resource_definitions

pytestmark = KUBECTL_MARKS

POLICY = {
    "apiVersion": "security.policy.gloo.solo.io/v2",
    "kind": "JWTPolicy",
    "metadata": {"name": "policy", "namespace": "default"},
    "spec": {
        "applyToRoutes": [{"route": {"labels": {"route": "a"}}}],
        "config": {
            "providers": {
                "provider": {
                    "issuer": "https://issuer.example",
                    "tokenSource": {"headers": [{"name": "Authorization", "prefix": "Bearer "}], "queryParams": ["t"]},
                    "remote": {"url": "https://issuer.example/keys"},
                }
            }
        },
    },
}


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with run_api_server(tmp_path, crds=tuple(custom_resource_definitions())) as server:
        yield Kubectl(server, tmp_path)


async def test_every_kind_is_served_and_explained(kubectl: Kubectl):
    """Discovery, OpenAPI and an empty list for each kind."""
    served = (await kubectl.ok("api-resources", "-o", "name")).out.split()
    for crd in custom_resource_definitions():
        name = crd["metadata"]["name"]
        assert name in served
        assert "FIELDS:" in (await kubectl.ok("explain", name)).out
        assert "No resources found" in (await kubectl.ok("get", name, "-A")).err


async def test_a_policy_lives(kubectl: Kubectl):
    """Applied, shown in our columns, read back as written, described, deleted."""
    await kubectl.ok("apply", "-f", "-", stdin=yaml.safe_dump(POLICY))
    head, row = cells((await kubectl.ok("get", "jwtpolicies", "-A")).out)
    assert head[:2] == ["NAMESPACE", "NAME"]
    assert row[:2] == ["default", "policy"]
    found = yaml.safe_load((await kubectl.ok("get", "jwtpolicy", "policy", "-o", "yaml")).out)
    assert found["spec"] == POLICY["spec"]
    assert "https://issuer.example/keys" in (await kubectl.ok("describe", "jwtpolicy", "policy")).out
    assert (
        "No resources found"
        in (await kubectl.ok("delete", "jwtpolicy", "--all") and await kubectl.ok("get", "jwtpolicy")).err
    )


async def test_mistakes_get_the_help_that_they_need(kubectl: Kubectl):
    """The guide's own slip of the pen is answered with the right name; not found reads as everywhere."""
    text = yaml.safe_dump(POLICY).replace("queryParams", "queryParameters")
    refused = await kubectl.fails("apply", "-f", "-", stdin=text)
    assert 'tokenSource.queryParameters", did you mean "queryParams"?' in refused
    assert "strict decoding error: unknown field" in refused
    assert await kubectl.fails("get", "jwtpolicy", "x") == (
        'Error from server (NotFound): jwtpolicies.security.policy.gloo.solo.io "x" not found\n'
    )


def listed(*items: dict[str, Any]) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": list(items)})


async def test_a_list_is_applied_item_by_item(kubectl: Kubectl):
    """What `get -o yaml` wrote for several objects is what `apply` takes, and a mistake in an item is told."""
    other = POLICY | {"metadata": {"name": "other", "namespace": "default"}}
    assert len((await kubectl.ok("apply", "-f", "-", stdin=listed(POLICY, other))).out.splitlines()) == 2

    written = (await kubectl.ok("get", "jwtpolicies", "-o", "yaml")).out
    assert len((await kubectl.ok("apply", "-f", "-", stdin=written)).out.splitlines()) == 2
    wrong = listed(POLICY).replace("queryParams", "queryParameters")
    assert 'did you mean "queryParams"?' in await kubectl.fails("apply", "-f", "-", stdin=wrong)


async def test_a_kind_that_is_not_served_is_named(kubectl: Kubectl):
    """Alone, in a List, and of a group that is served: not what kubectl could not download."""
    stranger = POLICY | {"kind": "TeapotPolicy"}
    for text in (yaml.safe_dump(stranger), listed(stranger), listed(POLICY, stranger)):
        refused = await kubectl.fails("apply", "-f", "-", stdin=text)
        assert 'no matches for kind "TeapotPolicy" in version "security.policy.gloo.solo.io/v2"' in refused


async def test_columns_wait_and_explain(kubectl: Kubectl):
    """Several kinds in one wide table; wait follows our status; explain shows the whole tree below a map."""
    await kubectl.ok("apply", "-f", "-", stdin=yaml.safe_dump(POLICY))
    waiting = await kubectl.start(
        "wait", "--for=jsonpath={.status.common.State.approval}=ACCEPTED", "jwtpolicy/policy", "--timeout=20s"
    )
    status = '{"status": {"common": {"State": {"approval": "ACCEPTED", "observedGeneration": 1}}}}'
    patched = await kubectl.ok("patch", "jwtpolicy", "policy", "--subresource=status", "--type=merge", "-p", status)
    assert patched.out == "jwtpolicy.security.policy.gloo.solo.io/policy patched\n"
    out, _ = await waiting.communicate()
    assert (waiting.returncode, out.splitlines()[-1]) == (
        0,
        b"jwtpolicy.security.policy.gloo.solo.io/policy condition met",
    )
    head, row = cells((await kubectl.ok("get", "jwtpolicy,routetable", "-A", "-o", "wide")).out)
    assert head[:3] == ["NAMESPACE", "NAME", "STATUS"]
    assert row[:3] == ["default", "jwtpolicy.security.policy.gloo.solo.io/policy", "ACCEPTED"]
    assert (await kubectl.ok("get", "jwtpolicy", "policy", "-o", "jsonpath={.metadata.generation}")).out == "1"
    tree = (await kubectl.ok("explain", "jwtpolicy.spec.config.providers", "--recursive")).out
    assert "FIELD: providers <map[string]Object>" in tree
    assert {"claimsToHeaders", "tokenSource", "queryParams", "remote", "inline"} <= set(tree.split())
