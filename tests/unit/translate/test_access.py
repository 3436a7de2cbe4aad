"""AccessPolicies: whom they select, what of them is wrong, and what an edit of something else changes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.access_objects import access_policy, allow, by_account, by_token
from tests.support.mesh_issuer import TRUST_DOMAIN, account
from tests.support.objects import (
    BASE,
    SERVER,
    build_snapshots,
    forward,
    key_of,
    object_set,
    read_objects,
    route_table,
    translate_objects,
)

from meshpass.api.common import ObjectSelector
from meshpass.envoy.snapshot import EXTENSION_CONFIG
from meshpass.ir import AccessRule, AccessRules, Caller, Glob, HeaderCondition, TokenCaller
from meshpass.memo import Memo
from meshpass.translate.accessaccount import Account, AccountIndex, Place, select_accounts
from meshpass.translate.accessside import connection_rules
from meshpass.translate.accessvalue import block_problem, identity_problem, make_glob, method_problem, path_problem
from meshpass.translate.finding import Severity
from meshpass.translate.identity import Identities

IDENTITIES = Identities(trust_domain=TRUST_DOMAIN, authorities="roots")
ON_SERVER: dict[str, Any] = {"applyToWorkloads": [{"selector": {"labels": {"app": "httpbin"}}}]}

HERE, THERE = Account("cluster1", "httpbin", "client"), Account("cluster2", "httpbin", "client")
TEAM, LONE = Account("cluster1", "team", "client"), Account("cluster1", "alone", "client")
INDEX = AccountIndex(labels={HERE: {"team": "blue"}, THERE: {}, TEAM: {"team": "blue"}, LONE: {"team": "blue"}})
PLACES = (Place("cluster1", "httpbin", "mesh"), Place("cluster2", "httpbin", "mesh"), Place("cluster1", "team", "team"))


@pytest.mark.parametrize(
    ("selector", "identities", "accounts", "others"),
    [
        ({}, ["ns/httpbin/sa/", "ns/team/sa/"], {HERE, THERE, TEAM}, ()),
        ({"namespace": "team"}, ["ns/team/sa/"], {TEAM}, ()),
        ({"workspace": "mesh"}, ["ns/httpbin/sa/"], {HERE, THERE}, ()),
        ({"name": "client"}, ["ns/httpbin/sa/client", "ns/team/sa/client"], {HERE, THERE, TEAM}, ()),
        ({"name": "later", "namespace": "team"}, ["ns/team/sa/later"], set(), ()),
        ({"name": "client", "cluster": "cluster2"}, ["ns/httpbin/sa/client"], {THERE}, (HERE,)),
        ({"cluster": "cluster2"}, ["ns/httpbin/sa/"], {THERE}, (HERE,)),
        ({"labels": {"team": "blue"}}, ["ns/httpbin/sa/client", "ns/team/sa/client"], {HERE, TEAM}, (THERE,)),
        ({"labels": {"team": "red"}}, [], set(), ()),
        ({"namespace": "alone"}, [], set(), ()),
    ],
)
def test_service_accounts_in_reach_are_selected(
    selector: dict[str, Any], identities: list[str], accounts: set[Account], others: tuple[Account, ...]
) -> None:
    """And those are named that nothing tells from them. What is out of reach is not selected by any words."""
    found = select_accounts(ObjectSelector(**selector), PLACES, INDEX, "x")
    assert found.identities == tuple(f"spiffe://x/{one}" for one in identities)
    assert (set(found.accounts), found.others) == (accounts, others)


@pytest.mark.parametrize(
    ("selector", "beyond"),
    [
        ({"namespace": "alone"}, (LONE,)),
        ({"name": "client", "namespace": "alone", "cluster": "cluster1"}, (LONE,)),
        ({"name": "client", "namespace": "alone", "cluster": "cluster2"}, ()),
        ({"name": "client"}, ()),
        ({"name": "nobody", "namespace": "alone"}, ()),
        ({"workspace": "other"}, ()),
    ],
)
def test_who_is_meant_and_out_of_reach_is_named(selector: dict[str, Any], beyond: tuple[Account, ...]) -> None:
    """Where nobody else is selected: the selector lets in nobody, though there is somebody of these names."""
    found = select_accounts(ObjectSelector(**selector), PLACES, INDEX, "x")
    assert found.beyond == beyond
    assert not (found.beyond and found.accounts)


def test_without_a_trust_domain_nobody_is_anybody() -> None:
    """An identity of no domain is none that anybody could have."""
    assert select_accounts(ObjectSelector(), PLACES, INDEX, "").identities == ()


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("/", True),
        ("/a/b", True),
        ("/a*", True),
        ("*b", True),
        ("*", True),
        ("/package.Service/Method", True),
        ("/%41", True),
        ("", False),
        ("a", False),
        ("/a*b", False),
        ("**", False),
        ("/a?b", False),
        ("/a#b", False),
        ("/a//b", False),
        ("/a/../b", False),
        ("/a/.", False),
        ("/a/.b", True),
        ("/a%2Fb", False),
        ("/a%5cb", False),
        ("/a b", False),
        ("/" + "a" * 256, False),
    ],
)
def test_a_path_that_no_request_has_is_wrong(text: str, right: bool) -> None:
    """Proxies bring paths to one form; a policy in another form would mean nobody."""
    assert (path_problem(text) is None) is right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("a/b", True),
        ("https://a/b/c", True),
        ("a*", True),
        ("*", True),
        ("a/*", True),
        ("a", False),
        ("/b", False),
        ("a/", False),
        ("", False),
        ("*/a*", False),
        ("a*b", False),
    ],
)
def test_an_identity_has_an_issuer_and_a_subject(text: str, right: bool) -> None:
    """Unless a wildcard stands for one of them."""
    assert (identity_problem(text) is None) is right


@pytest.mark.parametrize("text", ["10.0.0.1", "10.1.2.3/8", "::1", "2001:db8::/32"])
def test_addresses_and_blocks(text: str) -> None:
    """Of both families, also with bits set behind the prefix."""
    assert block_problem(text) is None


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "example.com", "10.0.0.1-10.0.0.2", "::1/129", "10.0.0"])
def test_what_is_no_address(text: str) -> None:
    """It is told, and never guessed."""
    assert block_problem(text) is not None


@pytest.mark.parametrize("text", ["get", "Get", "", "GET ", "*", "G*"])
def test_what_is_no_method(text: str) -> None:
    """Methods have a case, and no wildcards."""
    assert method_problem(text) is not None


def test_a_glob_is_what_is_between_its_gaps() -> None:
    """An asterisk is a gap wherever it stands."""
    assert [make_glob(text).parts for text in ("a", "a*", "*a", "*", "a*b")] == [
        ("a",),
        ("a", ""),
        ("", "a"),
        ("", ""),
        ("a", "b"),
    ]


ANYBODY = Caller()
TOKEN = Caller(token=TokenCaller(principals=(Glob(("", "")),)))


@pytest.mark.parametrize(
    ("rule", "callers"),
    [
        (AccessRule(callers=(ANYBODY,)), (ANYBODY,)),
        (AccessRule(callers=(ANYBODY, TOKEN)), (ANYBODY,)),
        (AccessRule(callers=(TOKEN,)), ()),
        (AccessRule(callers=(ANYBODY,), paths=(Glob(("/",)),)), None),
        (AccessRule(callers=(ANYBODY,), methods=("GET",)), None),
        (AccessRule(callers=(ANYBODY,), headers=(HeaderCondition(name="x"),)), None),
        (AccessRule(callers=(ANYBODY,), client_blocks=("10.0.0.0/8",)), None),
    ],
)
def test_where_there_are_no_requests_rules_about_them_allow_nothing(
    rule: AccessRule, callers: tuple[Caller, ...] | None
) -> None:
    """Never the other way round: a condition that cannot be asked for is not left out of a rule that allows."""
    found = connection_rules(AccessRules(rules=(rule,)))
    assert found is not None
    assert found.rules == (() if callers is None else (AccessRule(callers=callers),))


def test_everybody_may_connect_where_nothing_is_enforced() -> None:
    """A dry run needs requests."""
    assert connection_rules(AccessRules(rules=None, trial=())) is None


@pytest.mark.parametrize(
    "entry",
    [
        {"allowedIpBlocks": ["x"]},
        {"allowedRemoteIpBlocks": ["x"]},
        {"allowedPaths": ["x"]},
        {"allowedMethods": ["get"]},
        {"match": {"request": {"headers": {"x-a": {}}}}},
        {"match": {"request": {"headers": {":path": {"values": ["/"]}}}}},
        {"match": {"request": {"headers": {"x-meshpass-path": {"values": ["/"]}}}}},
        {"allowedClients": [by_token()]},
        {"allowedClients": [by_token("nobody")]},
        {"allowedClients": [{"unknown": True}]},
        {"allowedClients": "everybody"},
    ],
)
def test_an_entry_that_is_wrong_closes_the_port(entry: dict[str, Any]) -> None:
    """Beside one that is right, and beside another policy that allows everybody."""
    wrong = access_policy(allow(), {**allow(), **entry}, **ON_SERVER)
    right = access_policy(allow(), name="right", **ON_SERVER)
    translation = translate_objects(object_set(BASE, wrong, right), identities=IDENTITIES)
    (access,) = translation.proxies[SERVER].inbound_policies.access.values()
    assert access.rules == ()
    findings = translation.report.objects[key_of(wrong)].findings
    assert max(finding.severity for finding in findings) is Severity.INVALID


def test_an_edit_of_something_else_changes_nothing_of_the_filter() -> None:
    """Neither a route nor another pod."""
    memo = Memo()
    objects = object_set(BASE, access_policy(allow(by_account("client")), **ON_SERVER))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "another", "namespace": "httpbin"},
        "spec": {"serviceAccountName": "client"},
        "status": {"podIP": "127.0.1.9", "phase": "Running"},
    }
    found = []
    for more in ((), (route_table(hosts=["a.example"], http=[forward()]),), (pod,)):
        objects = objects.with_changes(read_objects(*more))
        snapshots = build_snapshots(translate_objects(objects, memo, identities=IDENTITIES), memo)
        found.append(snapshots[SERVER].of(EXTENSION_CONFIG)["meshpass.inbound.access"])
    assert len(set(found)) == 1


def test_a_name_of_an_account_becomes_its_identity() -> None:
    """In every namespace of the workspace."""
    policy = access_policy(allow(by_account("client", namespace="httpbin")), **ON_SERVER)
    translation = translate_objects(object_set(BASE, policy), identities=IDENTITIES)
    (access,) = translation.proxies[SERVER].inbound_policies.access.values()
    assert access.identities == (account("client"),)
