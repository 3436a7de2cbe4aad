"""What workspaces share: both sides, selectors of workspaces and of objects."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from meshpass.api.admin import WorkspaceSettingsSpec
from meshpass.api.objectset import ObjectKey
from meshpass.translate.sharing import Sharing, SharingSide, make_sharing

ALL = [{"workspaces": [{"name": "*"}]}]
LABELS = {"a": {"tier": "front"}, "ab": {"tier": "back"}, "b": {}}
KEY = ObjectKey("Service", "c1", "n1", "s")


def share(**said: dict[str, Any]) -> Sharing:
    """What workspaces a, ab and b share that say this."""
    specs = {name: msgspec.convert(said.get(name, {}), WorkspaceSettingsSpec) for name in LABELS}
    return make_sharing(
        {name: SharingSide(LABELS[name], spec.import_from, spec.export_to) for name, spec in specs.items()}
    )


def uses(sharing: Sharing, key: ObjectKey = KEY, owner: str = "a", user: str = "b", **labels: str) -> bool:
    return sharing.shares(key, labels, owner, user)


def both(exported: Any = None, imported: Any = None) -> Sharing:
    """What b gets of a, of these resources."""
    offer = {"workspaces": [{"name": "b"}], **({"resources": exported} if exported else {})}
    wish = {"workspaces": [{"name": "a"}], **({"resources": imported} if imported else {})}
    return share(a={"exportTo": [offer]}, b={"importFrom": [wish]})


def test_one_side_alone_shares_nothing() -> None:
    """And nothing is shared the other way round."""
    assert not uses(share(a={"exportTo": ALL}))
    assert not uses(share(b={"importFrom": ALL}))
    assert uses(share(a={"exportTo": ALL}, b={"importFrom": ALL}))
    assert not uses(share(a={"exportTo": ALL}, b={"importFrom": ALL}), owner="b", user="a")


def test_a_workspace_uses_what_is_its_own() -> None:
    """Whatever anybody says; what is in no workspace is nobody's."""
    sharing = share(a={"exportTo": ALL}, b={"importFrom": ALL})
    assert uses(sharing, owner="b", user="b")
    assert not sharing.shares(KEY, {}, None, "b")
    assert not sharing.shares(KEY, {}, "a", None)


def test_who_imports_and_from_whom() -> None:
    """Others only, and only where both sides agree on something."""
    sharing = share(
        a={"exportTo": ALL, "importFrom": ALL}, ab={"importFrom": ALL}, b={"importFrom": ALL, "exportTo": []}
    )
    assert sharing.importers("a") == {"ab", "b"}
    assert sharing.sources("b") == {"a"}
    assert sharing.importers("b") == sharing.sources("a") == sharing.sources("nobody") == frozenset()


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ({"name": "a"}, {"a"}),
        ({"name": "a*"}, {"a", "ab"}),
        ({"name": "*b"}, {"ab"}),
        ({"name": "*"}, {"a", "ab"}),
        ({"selector": {"tier": "front"}}, {"a"}),
        ({"name": "a*", "selector": {"tier": "back"}}, {"ab"}),
        ({"name": "a", "selector": {"tier": "back"}}, set()),
        ({}, set()),
        ({"selector": {}}, set()),
    ],
)
def test_which_workspaces_a_selector_is_for(selector: dict[str, Any], found: set[str]) -> None:
    """By name and labels together; one that says nothing is for none."""
    sharing = share(
        a={"exportTo": ALL}, ab={"exportTo": ALL}, b={"importFrom": [{"workspaces": [selector]}], "exportTo": ALL}
    )
    assert sharing.sources("b") == found


@pytest.mark.parametrize(
    ("exported", "imported", "shared"),
    [
        ([], [], True),
        ([{}], [{"kind": "SERVICE"}], True),
        ([{"kind": "ROUTE_TABLE"}], [], False),
        ([{"kind": "ROUTE_TABLE"}, {"kind": "SERVICE"}], [{"kind": "SERVICE"}], True),
        ([{"kind": "API_DOC"}], [], False),
        ([{"name": "s"}], [{"namespace": "n1"}], True),
        ([{"name": "s"}], [{"name": "other"}], False),
        ([{"namespace": "n2"}], [], False),
        ([{"cluster": "c1"}], [{"cluster": "c1", "name": "s", "namespace": "n1", "kind": "SERVICE"}], True),
        ([{"cluster": "c2"}], [], False),
        ([{"labels": {"x": "1"}}], [{"labels": {"y": "2"}}], True),
        ([{"labels": {"x": "1"}}], [{"labels": {"x": "2"}}], False),
        ([{"labels": {"z": "3"}}], [], False),
        ([{"labels": {"z": "3"}}, {"name": "s"}], [{"labels": {"z": "3"}}, {"labels": {"x": "1"}}], True),
    ],
)
def test_what_resources_share(exported: list[Any], imported: list[Any], shared: bool) -> None:
    """An object that some selector of either side is for; all that a selector says has to hold."""
    assert uses(both(exported, imported), x="1", y="2") is shared


def test_selectors_that_exclude_each_other_are_no_import() -> None:
    """So that nobody counts as an importer who can get nothing."""
    assert both([{"kind": "SERVICE"}], [{"kind": "ROUTE_TABLE"}]).importers("a") == frozenset()
    assert both([{"labels": {"x": "1"}}], [{"labels": {"x": "2"}}]).importers("a") == frozenset()
    assert both([{"name": "s"}], [{"labels": {"x": "1"}}]).importers("a") == {"b"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "belongs to workspace a, which does not export it to workspace b"),
        ({"a": {"exportTo": ALL}}, "belongs to workspace a, from which workspace b does not import it"),
        ({"b": {"importFrom": ALL}}, "belongs to workspace a, which does not export it to workspace b"),
    ],
)
def test_who_is_missing_is_named(said: dict[str, Any], reason: str) -> None:
    """The owner first: an import of what is not offered is not what there is to mend."""
    assert share(**said).why_not(KEY, {}, "a", "b") == reason
    assert share(**said).why_not(KEY, {}, None, "b") == "belongs to no workspace"
