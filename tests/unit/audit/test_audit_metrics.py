"""Numbers for Prometheus, in bounded number."""

from __future__ import annotations

from tests.support.decision import make_record

from meshpass.audit.counter import OTHER, RequestCounter, Series
from meshpass.audit.log import AuditLog
from meshpass.audit.metrics import ProxyCount, render_metrics
from meshpass.audit.record import Verdict


def test_text():
    """Version 0.0.4 of the format, sorted, with labels escaped."""
    log = AuditLog()
    for _ in range(2):
        log.append(make_record(policy="a/b/p", provider="one"))
    log.append(make_record(policy="", provider='q"\\\n', verdict=Verdict.DENIED, reason="Jwt is missing"))
    log.count_dropped(3)

    assert render_metrics(log, ProxyCount(known=4, connected=3, in_sync=2)) == (
        "# HELP meshpass_requests_total Requests that proxies reported, by decision.\n"
        "# TYPE meshpass_requests_total counter\n"
        'meshpass_requests_total{policy="",provider="q\\"\\\\\\n",verdict="denied",reason="Jwt is missing"} 1\n'
        'meshpass_requests_total{policy="a/b/p",provider="one",verdict="allowed",reason=""} 2\n'
        "# HELP meshpass_audit_dropped_total Decision records that were dropped, by cause.\n"
        "# TYPE meshpass_audit_dropped_total counter\n"
        'meshpass_audit_dropped_total{cause="overload"} 3\n'
        'meshpass_audit_dropped_total{cause="subscriber"} 0\n'
        "# HELP meshpass_proxies Proxies that the objects ask for.\n"
        "# TYPE meshpass_proxies gauge\n"
        "meshpass_proxies 4\n"
        "# HELP meshpass_proxies_connected Proxies with a stream.\n"
        "# TYPE meshpass_proxies_connected gauge\n"
        "meshpass_proxies_connected 3\n"
        "# HELP meshpass_proxies_in_sync Proxies that acknowledged everything.\n"
        "# TYPE meshpass_proxies_in_sync gauge\n"
        "meshpass_proxies_in_sync 2\n"
    )


def test_series_are_bounded():
    """What is too many is counted together; verdicts stay apart, and the total is right."""
    counter = RequestCounter(max_series=2)
    for number in range(5):
        counter.add(make_record(provider=str(number)))
    counter.add(make_record(provider="0"))
    counter.add(make_record(provider="9", verdict=Verdict.DENIED))

    assert sum(counter.counts.values()) == 7
    assert counter.counts[Series(OTHER, OTHER, "allowed", OTHER)] == 3
    assert counter.counts[Series(OTHER, OTHER, "denied", OTHER)] == 1
    assert len(counter.counts) == 4
