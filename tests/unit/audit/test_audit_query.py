"""Filters take what is wanted."""

from __future__ import annotations

import pytest
from tests.support.decision import make_record

from meshpass.audit.query import RecordFilter
from meshpass.audit.record import Verdict


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (RecordFilter(), True),
        (RecordFilter(denied=True), True),
        (RecordFilter(policy="policy"), True),
        (RecordFilter(policy="cluster1/httpbin/policy"), True),
        (RecordFilter(policy="httpbin"), False),
        (RecordFilter(route="get"), True),
        (RecordFilter(route="get.www"), True),
        (RecordFilter(route="get.www.httpbin.cluster1"), True),
        (RecordFilter(route="ge"), False),
        (RecordFilter(route="www"), False),
        (RecordFilter(workload="client"), True),
        (RecordFilter(workload="clien"), False),
        (RecordFilter(workload="c.*t"), False),
        (RecordFilter(namespace="httpbin"), True),
        (RecordFilter(namespace="other", workload="client"), False),
        (RecordFilter(since=1_700_000_000.0), True),
        (RecordFilter(since=1_700_000_000.1), False),
        (RecordFilter(denied=True, policy="policy", route="get", workload="client", namespace="other"), False),
    ],
)
def test_filter(wanted, taken):
    """All that is given has to hold."""
    assert wanted.matches(make_record(verdict=Verdict.DENIED)) is taken


def test_denied_takes_only_denials():
    """Neither allowed nor open ones."""
    assert [one for one in Verdict if RecordFilter(denied=True).matches(make_record(verdict=one))] == [Verdict.DENIED]


@pytest.mark.parametrize(
    ("pod", "workload", "taken"),
    [
        ("client", "client", True),
        ("client-7d4b9c8f5d-x2x8q", "client", True),
        ("client-x2x8q", "client", True),
        ("client-0", "client", True),
        ("client-two", "client", False),
        ("client-two-7d4b9c8f5d-x2x8q", "client", False),
        ("client-two-7d4b9c8f5d-x2x8q", "client-two", True),
    ],
)
def test_workload_is_the_pod_without_what_was_generated(pod, workload, taken):
    """Pods of Deployments, DaemonSets and StatefulSets."""
    record = make_record(proxy=f"sidecar~cluster1~httpbin~{pod}")

    assert RecordFilter(workload=workload).matches(record) is taken


@pytest.mark.parametrize("node", ["", "x", "~~~", "a~b"])
def test_other_node_ids(node):
    """Are no workload's."""
    assert not RecordFilter(workload="client").matches(make_record(proxy=node))
