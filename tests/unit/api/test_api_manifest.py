from __future__ import annotations

from pathlib import Path

import pytest

from meshpass.api.common import PortSelector
from meshpass.api.core import EndpointSlice, Pod, Secret, Service
from meshpass.api.kinds import kind_of_type
from meshpass.api.manifest import decode_strict, load_documents, parse_object, to_raw
from meshpass.api.routetable import RouteTable
from meshpass.api.security import JWTPolicy
from meshpass.errors import ManifestError

_GUIDE = Path(__file__).parents[4] / "shared" / "guide"
_SECURITY = "security.policy.gloo.solo.io/v2"
_NETWORKING = "networking.gloo.solo.io/v2"


def _policy(**spec):
    return {"apiVersion": _SECURITY, "kind": "JWTPolicy", "metadata": {"name": "p", "namespace": "n"}, "spec": spec}


def _table(**spec):
    return {"apiVersion": _NETWORKING, "kind": "RouteTable", "metadata": {"name": "t", "namespace": "n"}, "spec": spec}


def _gateway(**spec):
    return {"apiVersion": _NETWORKING, "kind": "VirtualGateway", "metadata": {"name": "g"}, "spec": spec}


@pytest.mark.skipif(not _GUIDE.exists(), reason="the guide is not beside this repository")
@pytest.mark.parametrize("name", ["jwt-policy-basic.yaml", "route-table.yaml"])
def test_the_guides_manifests_have_no_problems(name):
    """The guide's manifests parse without a problem, and dump as they were written."""
    (document,) = load_documents((_GUIDE / name).read_text())

    parsed = parse_object(document)

    assert parsed.problems == ()
    assert to_raw(parsed.object) == document
    assert decode_strict(document) == parsed.object


@pytest.mark.parametrize(
    ("raw", "problems"),
    [
        pytest.param(
            _policy(config={"providers": {"dev": {"issuer": 5}}}),
            ("spec.config.providers[dev].issuer: expected string, got int",),
            id="wrong type under a map",
        ),
        pytest.param(
            _policy(config={"providers": {"dev": {"tokenSource": {"queryParameters": ["t"]}}}}),
            (("spec.config.providers[dev].tokenSource.queryParameters: unknown field, did you mean queryParams?"),),
            id="the guide's typing error",
        ),
        pytest.param(
            _policy(config={"providers": {"dev": {"local": {"inline": "x"}, "remote": {}}}}),
            ("spec.config.providers[dev]: only one of local, remote may be set",),
            id="two members of a one-of",
        ),
        pytest.param(
            _policy(config={"validationPolicy": "SOME"}),
            (
                (
                    "spec.config.validationPolicy: expected one of REQUIRE_VALID, ALLOW_MISSING, "
                    "ALLOW_MISSING_OR_FAILED, got 'SOME'"
                ),
            ),
            id="outside the enum",
        ),
        pytest.param(
            _policy(config={"validationPolicy": 1}),
            (
                (
                    "spec.config.validationPolicy: expected one of REQUIRE_VALID, ALLOW_MISSING, "
                    "ALLOW_MISSING_OR_FAILED, got int"
                ),
            ),
            id="an enum that is no text",
        ),
        pytest.param(
            _policy(config={"providers": {"dev": {"remote": {"timeout": "soon"}}}}),
            (
                (
                    "spec.config.providers[dev].remote.timeout: expected text like "
                    r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$, got 'soon'"
                ),
            ),
            id="no duration",
        ),
        pytest.param(
            _policy(config={"providers": {"dev": {"remote": {"timeout": "1" * 40 + "s"}}}}),
            ("spec.config.providers[dev].remote.timeout: expected at most 32 characters",),
            id="too long",
        ),
        pytest.param(_policy(applyToRoutes={}), ("spec.applyToRoutes: expected list, got object",), id="no list"),
        pytest.param(_policy(applyToRoutes=[1.5]), ("spec.applyToRoutes[0]: expected object, got number",), id="float"),
        pytest.param(_policy(config=[]), ("spec.config: expected object, got list",), id="list for an object"),
        pytest.param(
            _policy(config={"providers": "x"}),
            ("spec.config.providers: expected object, got string",),
            id="text for a map",
        ),
        pytest.param(
            _policy(config={"allowMissingOrFailed": "yes"}),
            ("spec.config.allowMissingOrFailed: expected boolean, got string",),
            id="text for a boolean",
        ),
        pytest.param(
            _table(http=[{"directResponse": {"status": True}}]),
            ("spec.http[0].directResponse.status: expected int, got boolean",),
            id="boolean for a number",
        ),
        pytest.param(
            _table(http=[{"directResponse": {"body": "x"}}]),
            ("spec.http[0].directResponse.status: required",),
            id="a required field is missing",
        ),
        pytest.param(
            _table(http=[{"forwardTo": {"destinations": [{"port": {"number": 0}}]}}]),
            ("spec.http[0].forwardTo.destinations[0].port.number: expected 1 to 65535, got 0",),
            id="out of range",
        ),
        pytest.param(
            _table(http=[{}], tls=[{"matchers": [{"sniHosts": []}]}]),
            ("spec.tls[0].matchers[0].sniHosts: expected at least 1 items, got none",),
            id="too few items",
        ),
        pytest.param(
            _table(http=[{}], tls=[{"matchers": [{"sniHosts": [5]}]}]),
            ("spec.tls[0].matchers[0].sniHosts[0]: expected string, got int",),
            id="the last item of a list that needs one",
        ),
        pytest.param(
            _table(http=[{"forwardTo": {"destinations": [{}] * 101}}]),
            ("spec.http[0].forwardTo.destinations: expected at most 100 items, got 101",),
            id="too many items",
        ),
        pytest.param(_table(), ("spec: one of http, tcp, tls is required",), id="nothing of what is needed"),
        pytest.param(_gateway(), ("spec.listeners: required",), id="nothing of the one needed"),
        pytest.param(
            _gateway(listeners=[{"port": {"number": 80}, "tls": {}, "httpsRedirect": True, "http": {}, "tcp": {}}]),
            (
                "spec.listeners[0]: only one of tls, httpsRedirect may be set",
                "spec.listeners[0]: only one of http, tcp may be set",
            ),
            id="two one-of groups",
        ),
        pytest.param(
            _gateway(listeners=[{"port": {"number": 80}, "allowedRouteTables": [{"host": ""}]}]),
            ("spec.listeners[0].allowedRouteTables[0].host: expected at least 1 characters",),
            id="empty text",
        ),
        pytest.param(_policy() | {"sepc": {}}, ("sepc: unknown field, did you mean spec?",), id="beside the spec"),
        pytest.param(_policy() | {"spec": 5}, ("spec: expected object, got int",), id="no spec at all"),
        pytest.param(_policy(zzz=1), ("spec.zzz: unknown field",), id="nothing close"),
        pytest.param(_policy(config={5: 1}), ("spec.config.5: unknown field",), id="a key that is no text"),
        pytest.param(
            _policy(config={"providers": {5: {}}}),
            ("spec.config.providers[5]: expected a string as key, got int",),
            id="a map key that is no text",
        ),
        pytest.param(
            _policy(applyToRoutes=[{"route": {"labels": {"a": object()}}}]),
            ("spec.applyToRoutes[0].route.labels[a]: expected string, got object",),
            id="no JSON at all",
        ),
    ],
)
def test_a_bad_part_is_a_problem_with_its_path(raw, problems):
    """Each bad part is named, the rest decodes, and strict decoding refuses the object with the first problem."""
    parsed = parse_object(raw)

    assert parsed.problems == problems
    assert parsed.object.metadata.name == raw["metadata"]["name"]
    with pytest.raises(ManifestError) as refused:
        decode_strict(raw)
    assert str(refused.value) == problems[0]


def test_good_parts_beside_a_bad_one_stay():
    """Only the bad part is dropped; of a broken one-of every member is."""
    raw = _policy(
        config={
            "requiredScopes": ["a", 5],
            "providers": {"bad": {"issuer": "i", "local": {"inline": "k"}, "remote": {"url": "u"}}, "gone": 5},
        }
    )

    parsed = parse_object(raw)

    assert isinstance(parsed.object, JWTPolicy)
    config = parsed.object.spec.config
    assert config.required_scopes == ("a",)
    assert list(config.providers) == ["bad"]
    assert (config.providers["bad"].issuer, config.providers["bad"].local) == ("i", None)


def test_null_is_absence():
    """A null is no problem and means that the field is not set, whatever its type."""
    raw = _policy(applyToRoutes=None, config={"providers": {"p": {"issuer": None, "clockSkewSeconds": None}}})

    parsed = parse_object(raw)

    assert parsed.problems == ()
    assert parsed.object == parse_object(_policy(config={"providers": {"p": {}}})).object


def test_a_broken_status_is_no_problem():
    """What another controller wrote into the status is dropped in silence where it does not fit."""
    raw = _policy() | {"status": {"common": 5, "other": {}, "numSelectedRoutes": 3, "conditions": [{"reason": "x"}]}}

    parsed = parse_object(raw)

    assert parsed.problems == ()
    assert parsed.object.status.num_selected_routes == 3
    assert parsed.object.status.conditions == ()


def test_unknown_metadata_is_dropped():
    """managedFields and their like are neither kept nor a problem."""
    raw = _policy()
    raw["metadata"]["managedFields"] = [{"manager": "kubectl"}]

    assert parse_object(raw).problems == ()
    assert "managedFields" not in to_raw(parse_object(raw).object)["metadata"]


@pytest.mark.parametrize(
    ("raw", "message", "hint"),
    [
        ({}, "apiVersion: required", None),
        ({"apiVersion": 5}, "apiVersion: required", None),
        ({"apiVersion": "v1"}, "kind: required", None),
        (
            {"apiVersion": _SECURITY, "kind": "JwtPolicy"},
            f"kind: unknown kind JwtPolicy of {_SECURITY}",
            f"did you mean JWTPolicy of {_SECURITY}?",
        ),
        ({"apiVersion": "v1", "kind": "Zzzzzz"}, "kind: unknown kind Zzzzzz of v1", None),
        ({"apiVersion": _SECURITY, "kind": "JWTPolicy"}, "metadata.name: required", None),
        ({"apiVersion": _SECURITY, "kind": "JWTPolicy", "metadata": {"name": 5}}, "metadata.name: required", None),
    ],
)
def test_what_is_no_object_is_refused(raw, message, hint):
    """Without a known kind and a name there is no object to report on."""
    with pytest.raises(ManifestError) as refused:
        parse_object(raw)

    assert (str(refused.value), refused.value.hint) == (message, hint)


def test_lists_are_taken_apart():
    """The items of a List stand in its place, lists in lists too; other documents keep their order."""
    text = """
kind: List
apiVersion: v1
items:
- {kind: A}
- kind: BList
  items: [{kind: B}]
---
# nothing
---
kind: C
"""

    assert [document["kind"] for document in load_documents(text)] == ["A", "B", "C"]


def test_a_document_that_is_no_object_is_refused():
    """A bare list or text is no manifest."""
    with pytest.raises(ManifestError, match="document: expected object, got list"):
        load_documents("- 1")
    with pytest.raises(ManifestError, match=r"items\[1\]: expected object, got null"):
        load_documents("kind: List\nitems: [{}, null]")


def test_core_kinds_keep_what_is_read_and_drop_the_rest():
    """Fields of core objects that are not ours are no problem."""
    service = parse_object(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s"},
            "spec": {
                "clusterIP": "10.0.0.1",
                "sessionAffinity": "None",
                "ports": [
                    {"port": 80, "targetPort": "http", "nodePort": 3},
                    {"port": 81, "targetPort": 8081},
                    {"port": 82, "targetPort": [1]},
                ],
            },
        }
    )

    assert service.problems == ("spec.ports[2].targetPort: expected int or string, got list",)
    assert isinstance(service.object, Service)
    assert [port.target_port for port in service.object.spec.ports] == ["http", 8081, None]
    assert service.object.spec.cluster_ip == "10.0.0.1"


def test_core_names_on_the_wire():
    """Names that break the lowerCamelCase rule are read as Kubernetes writes them."""
    pod = parse_object(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": {"serviceAccountName": "sa", "containers": [{"name": "c", "ports": [{"containerPort": 1}]}]},
            "status": {"podIP": "127.0.0.2", "phase": "Running"},
        }
    )
    endpoints = parse_object(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "e"},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.2"], "conditions": {"ready": True}, "targetRef": {"name": "p"}}],
            "ports": [{"name": "http", "port": 8000}],
        }
    )

    assert isinstance(pod.object, Pod)
    assert (pod.object.status.pod_ip, pod.object.spec.service_account_name) == ("127.0.0.2", "sa")
    assert isinstance(endpoints.object, EndpointSlice)
    assert endpoints.object.endpoints[0].conditions.ready is True


def test_a_secret_does_not_print_what_it_holds():
    """The representation of a Secret, which ends in tracebacks, names its entries and not their values."""
    secret = parse_object(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"tls.key": "c2VjcmV0"}}
    ).object

    assert isinstance(secret, Secret)
    assert "c2VjcmV0" not in repr(secret)
    assert "tls.key" in repr(secret)


def test_to_raw_is_plain_json():
    """The wire form has lists, not tuples, and its apiVersion and kind."""
    raw = _table(hosts=["a"], http=[{"name": "r"}])
    table = parse_object(raw).object

    assert isinstance(table, RouteTable)
    assert to_raw(table) == raw
    assert kind_of_type(type(table)).plural == "routetables"


def test_building_a_broken_one_of_is_an_error():
    """Code cannot make what a manifest may not say."""
    with pytest.raises(ValueError, match="only one of number, name may be set"):
        PortSelector(number=1, name="x")
