"""What a route does, and why it does not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.objects import BASE, CLIENT, object_set, route_table, translate_objects

from meshpass.api.objectset import ObjectKey
from meshpass.ir import DirectResponse, Forward, PrefixRewrite, Redirect, RegexRewrite, Route, WeightedBackend
from meshpass.translate import Translation

Manifest = dict[str, Any]
HOST = "www.example.com"
HTTPBIN = {"ref": {"name": "httpbin"}, "port": {"number": 8000}}
BACKEND = "cluster1/httpbin/httpbin:8000"


def run(http: Manifest, **spec: Any) -> Translation:
    return translate_objects(object_set(BASE, route_table(hosts=[HOST], http=[http], **spec)))


def only(translation: Translation) -> Route:
    (configuration,) = translation.proxies[CLIENT].routes
    (route,) = (route for host in configuration.virtual_hosts if host.name == HOST for route in host.routes)
    return route


def findings(translation: Translation) -> set[str]:
    key = ObjectKey("RouteTable", "cluster1", "httpbin", "table")
    return {finding.path for finding in translation.report.objects[key].findings} - {"spec.http"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, Forward(backends=(WeightedBackend(backend=BACKEND, weight=100),))),
        (
            {"pathRewrite": "/b", "hostRewrite": "A.example.com"},
            Forward(
                backends=(WeightedBackend(backend=BACKEND, weight=100, host_rewrite="a.example.com"),),
                path_rewrite=PrefixRewrite("/b"),
            ),
        ),
        (
            {"regexRewrite": {"pattern": {"regex": "(a)"}, "substitution": r"\1"}, "autoHostRewrite": True},
            Forward(
                backends=(
                    WeightedBackend(backend=BACKEND, weight=100, host_rewrite="httpbin.httpbin.svc.cluster.local"),
                ),
                path_rewrite=RegexRewrite("(a)", r"\1"),
            ),
        ),
        ({"autoHostRewrite": False}, Forward(backends=(WeightedBackend(backend=BACKEND, weight=100),))),
    ],
)
def test_forwarding(more: Manifest, expected: Forward) -> None:
    """To the destination, with path and host as they are asked for."""
    assert only(run({"forwardTo": {"destinations": [HTTPBIN], **more}})).action == expected


@pytest.mark.parametrize(
    ("redirect", "expected"),
    [
        ({"hostRedirect": "a.example.com"}, Redirect(status=301, host="a.example.com")),
        ({"pathRedirect": "/a", "responseCode": "FOUND"}, Redirect(status=302, path="/a")),
        (
            {"hostRedirect": "a.example.com:8443", "pathRedirect": "/", "responseCode": "PERMANENT_REDIRECT"},
            Redirect(status=308, host="a.example.com:8443", path="/"),
        ),
    ],
)
def test_redirecting(redirect: Manifest, expected: Redirect) -> None:
    """Host, path and status as they are asked for."""
    assert only(run({"redirect": redirect})).action == expected


def test_answering() -> None:
    """Status and body as they are."""
    route = only(run({"directResponse": {"status": 599, "body": "100%"}}))
    assert route.action == DirectResponse(status=599, body="100%")


FORWARD = "spec.http[0].forwardTo"


@pytest.mark.parametrize(
    ("http", "paths"),
    [
        ({}, {"spec.http[0]"}),
        ({"directResponse": {"status": 199}}, {"spec.http[0].directResponse.status"}),
        ({"redirect": {}}, {"spec.http[0].redirect"}),
        ({"redirect": {"hostRedirect": "*.example.com"}}, {"spec.http[0].redirect.hostRedirect"}),
        ({"redirect": {"hostRedirect": "a:b"}}, {"spec.http[0].redirect.hostRedirect"}),
        ({"redirect": {"hostRedirect": "a.example.com:65536"}}, {"spec.http[0].redirect.hostRedirect"}),
        ({"redirect": {"pathRedirect": ""}}, {"spec.http[0].redirect.pathRedirect"}),
        ({"redirect": {"pathRedirect": "/\r\nset-cookie: a"}}, {"spec.http[0].redirect.pathRedirect"}),
        ({"forwardTo": {}}, {f"{FORWARD}.destinations"}),
        ({"forwardTo": {"destinations": [{}]}}, {f"{FORWARD}.destinations[0].ref.name"}),
        ({"forwardTo": {"destinations": [HTTPBIN], "pathRewrite": "a"}}, {f"{FORWARD}.pathRewrite"}),
        ({"forwardTo": {"destinations": [HTTPBIN], "hostRewrite": ""}}, {f"{FORWARD}.hostRewrite"}),
        ({"forwardTo": {"destinations": [HTTPBIN], "hostRewrite": "*.example.com"}}, {f"{FORWARD}.hostRewrite"}),
        ({"forwardTo": {"destinations": [HTTPBIN], "regexRewrite": {}}}, {f"{FORWARD}.regexRewrite.pattern.regex"}),
        ({"forwardTo": {"destinations": [{**HTTPBIN, "weight": 1}]}}, {f"{FORWARD}.destinations"}),
        (
            {"forwardTo": {"destinations": [{"ref": {"name": "a"}}, {"ref": {"name": "b"}}], "pathRewrite": "a"}},
            {f"{FORWARD}.destinations[0].ref", f"{FORWARD}.destinations[1].ref", f"{FORWARD}.pathRewrite"},
        ),
    ],
)
def test_what_is_wrong_answers_500_and_says_all_of_it(http: Manifest, paths: set[str]) -> None:
    """Every mistake of the route is named; nothing of it is done."""
    translation = run(http)
    action = only(translation).action
    assert isinstance(action, DirectResponse)
    assert action.status == 500
    assert findings(translation) == paths


def test_the_default_destination_is_for_routes_without_any() -> None:
    """With what the route says beside it."""
    route = only(run({"forwardTo": {"pathRewrite": "/a"}}, defaultDestination=HTTPBIN))
    assert route.action == Forward(
        backends=(WeightedBackend(backend=BACKEND, weight=100),), path_rewrite=PrefixRewrite("/a")
    )


def test_a_default_destination_that_is_not_there_is_an_unresolved_reference() -> None:
    """As one of the route's own would be."""
    translation = run({"forwardTo": {}}, defaultDestination={"ref": {"name": "nobody"}})
    key = ObjectKey("RouteTable", "cluster1", "httpbin", "table")
    reasons = {one.path: one.reason.value for one in translation.report.objects[key].findings}
    assert reasons["spec.defaultDestination.ref"] == "BackendNotFound"


def test_a_broken_route_is_selected_by_what_it_would_have_sent_to() -> None:
    """A policy on a destination keeps its routes while they are broken in some other way."""
    sound = only(run({"forwardTo": {"destinations": [HTTPBIN]}}))
    broken = only(run({"forwardTo": {"destinations": [HTTPBIN], "pathRewrite": "a"}}))
    assert broken.selection_class == sound.selection_class
