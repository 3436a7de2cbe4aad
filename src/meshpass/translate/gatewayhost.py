"""Hosts on gateways: which tables a listener allows, and which server names it answers for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshpass.api.common import ObjectSelector
from meshpass.api.objectset import ObjectKey
from meshpass.translate.host import host_problem, normalize_host

ANY_HOST = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedTables:
    """Tables that a listener lets in, and the hosts that it lets them serve."""

    namespace: str
    """Of the tables; empty: any."""
    host: str
    """A name, ``*``, or a name whose first part begins with ``*``."""
    selector: ObjectSelector


EVERY_TABLE = (AllowedTables(namespace="", host=ANY_HOST, selector=ObjectSelector()),)
"""What a listener allows that says nothing about it."""


def read_allowed_host(text: str, namespace: str) -> tuple[str, str] | None:
    """(namespace, host) of ``[namespace/]host``, where ``*`` is any namespace and ``.`` this one; None if it is wrong."""
    place, separator, host = text.partition("/") if "/" in text else ("", "", text)
    if (separator and not place) or (host != ANY_HOST and host_problem(host) is not None):
        return None
    return {"*": "", ".": namespace}.get(place, place), normalize_host(host)


def allowed_hosts(
    allowed: tuple[AllowedTables, ...],
    table: ObjectKey,
    workspace: str,
    labels: Mapping[str, str],
    hosts: tuple[str, ...],
) -> tuple[str, ...]:
    """The hosts that a listener lets a table serve, each once: what is both the table's and allowed by some entry.

    So a table for ``*`` serves ``*.example.com`` where that is what is allowed, as in Istio.
    """
    fitting = [entry.host for entry in allowed if _fits(entry, table, workspace, labels)]
    common = (narrower(pattern, host) for host in hosts for pattern in fitting)
    return tuple(dict.fromkeys(host for host in common if host is not None))


def narrower(one: str, other: str) -> str | None:
    """What is covered by both hosts; None if there is nothing."""
    if covers(one, other):
        return other
    return one if covers(other, one) else None


def _fits(entry: AllowedTables, table: ObjectKey, workspace: str, labels: Mapping[str, str]) -> bool:
    selector = entry.selector
    return (
        entry.namespace in {"", table.namespace}
        and selector.name in {"", table.name}
        and selector.namespace in {"", table.namespace}
        and selector.cluster in {"", table.cluster}
        and selector.workspace in {"", workspace}
        and all(labels.get(name) == value for name, value in selector.labels.items())
    )


def covers(pattern: str, host: str) -> bool:
    """True if every name that ``host`` stands for is one that ``pattern`` stands for."""
    if pattern in {host, ANY_HOST}:
        return True
    # A wildcard is any text at all, dots too, as Envoy takes it; so *.b covers *.a.b and *-a.b.
    return pattern.startswith("*") and host.removeprefix("*").endswith(pattern[1:]) and host != ANY_HOST


def server_name(host: str) -> str:
    """The narrowest server name (as Envoy matches SNI: exact, ``*.`` and a suffix, or ``*``) that covers a host."""
    if not host.startswith("*") or host == ANY_HOST or host.startswith("*."):
        return host
    return f"*.{host.partition('.')[2]}"


def choose_server_name(host: str, names: Iterable[str]) -> str | None:
    """The server name that TLS connections for a host are matched to: the longest that covers it, as Envoy chooses."""
    return max((name for name in names if covers(name, host)), key=len, default=None)
