"""Selectors: Kubernetes' grammar, its truth table, and its refusals."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.selector import parse_label_selector, parse_selector
from meshpass.apiserver.status import StatusError

BY_PLURAL = {resource.plural: resource for resource in BUILTIN_RESOURCES}


def holds(text: str, **labels: str) -> bool:
    return parse_selector(BY_PLURAL["pods"], text, "").matches({"metadata": {"labels": labels}})


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a=b", {}, False),
        ("a=", {"a": ""}, True),
        ("a!=b", {"a": "c"}, True),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("!a", {}, True),
        ("a in (b, c)", {"a": "c"}, True),
        ("a in (b,c)", {}, False),
        ("a in (b,)", {"a": ""}, True),
        ("a notin (b,c)", {"a": "d"}, True),
        ("a notin (b,c)", {}, True),
        ("a notin (b,c)", {"a": "b"}, False),
        ("a>1", {"a": "2"}, True),
        ("a<1", {"a": "2"}, False),
        ("a>1", {"a": "x"}, False),
        ("a>1", {}, False),
        (" a = b , c in ( d ) ,!e", {"a": "b", "c": "d"}, True),
        ("example.com/a=b", {"example.com/a": "b"}, True),
        ("in=in", {"in": "in"}, True),
    ],
)
def test_labels(text: str, labels: dict[str, str], expected: bool):
    """The truth table of labels.Requirement."""
    assert holds(text, **labels) is expected


@pytest.mark.parametrize(
    "text", ["=b", "a=b,", ",", "a in b", "a in (b", "a in (b c)", "a b", "!", "a=b=c", "a=(b)", "-a", "a=b!", "a in"]
)
def test_text_that_is_no_label_selector_is_400(text: str):
    """In Kubernetes' words."""
    with pytest.raises(StatusError, match="unable to parse requirement") as failure:
        parse_label_selector(text)

    assert failure.value.code == 400


@given(st.text(alphabet="ab=!,()<> innot.-/\\", max_size=20))
def test_any_text_is_a_selector_or_400(text: str):
    """A hostile selector cannot raise anything else."""
    for labels, fields in ((text, ""), ("", text)):
        with suppress(StatusError):
            parse_selector(BY_PLURAL["events"], labels, fields)


EVENT: dict[str, Any] = {
    "metadata": {"name": "e", "namespace": "n"},
    "involvedObject": {"kind": "Pod", "name": "p", "uid": "u"},
    "reason": "Started",
    "type": "Normal",
    "source": {"component": "kubelet"},
}


@pytest.mark.parametrize(
    ("plural", "value", "text", "expected"),
    [
        ("events", EVENT, "involvedObject.name=p,involvedObject.kind=Pod,involvedObject.uid=u", True),
        ("events", EVENT, "involvedObject.name!=p", False),
        ("events", EVENT, "source=kubelet,type=Normal,reason==Started", True),
        ("events", EVENT, "metadata.namespace=n", True),
        ("pods", {"metadata": {}, "spec": {"nodeName": "x"}, "status": {"phase": "Running"}}, "spec.nodeName=x", True),
        ("pods", {"metadata": {}, "status": {"phase": "Running"}}, "status.phase!=Running", False),
        ("pods", {"metadata": {}}, "spec.nodeName=", True),
        ("secrets", {"metadata": {}, "type": "Opaque"}, "type=Opaque", True),
    ],
)
def test_fields(plural: str, value: dict[str, Any], text: str, expected: bool):
    """Absent is the empty string."""
    assert parse_selector(BY_PLURAL[plural], "", text).matches(value) is expected


@pytest.mark.parametrize(
    ("plural", "text"),
    [("configmaps", "data.a=b"), ("pods", "spec.foo=1"), ("pods", "metadata.name"), ("pods", "a=b=c")],
)
def test_fields_that_cannot_be_selected_by_are_400(plural: str, text: str):
    """An ignored field selector would hand out too much."""
    with pytest.raises(StatusError) as failure:
        parse_selector(BY_PLURAL[plural], "", text)

    assert failure.value.code == 400
