"""Metrics in Prometheus' text format, version 0.0.4.

Written here rather than by a library: it is two kinds of lines, and the official client keeps its numbers in a global
registry of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from meshpass.audit.log import AuditLog

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

_Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyCount:
    """How many proxies there are, and how many of them have what they should."""

    known: int
    connected: int
    in_sync: int


def render_metrics(log: AuditLog, proxies: ProxyCount) -> str:
    """Everything that the control plane counts; the same state gives the same text."""
    requests = (
        ((("policy", one.policy), ("provider", one.provider), ("verdict", one.verdict), ("reason", one.reason)), count)
        for one, count in sorted(log.counter.counts.items())
    )
    dropped = (((("cause", cause.value),), count) for cause, count in log.dropped.items())
    lines = (
        *_family("meshpass_requests_total", "counter", "Requests that proxies reported, by decision.", requests),
        *_family("meshpass_audit_dropped_total", "counter", "Decision records that were dropped, by cause.", dropped),
        *_family("meshpass_proxies", "gauge", "Proxies that the objects ask for.", [((), proxies.known)]),
        *_family("meshpass_proxies_connected", "gauge", "Proxies with a stream.", [((), proxies.connected)]),
        *_family("meshpass_proxies_in_sync", "gauge", "Proxies that acknowledged everything.", [((), proxies.in_sync)]),
    )
    return "\n".join(lines) + "\n"


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[_Labels, int]]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        inner = ",".join(f'{label}="{content.translate(_ESCAPES)}"' for label, content in labels)
        yield f"{name}{{{inner}}} {value}" if inner else f"{name} {value}"
