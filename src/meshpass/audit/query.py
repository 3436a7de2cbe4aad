"""RecordFilter: which records someone wants to see."""

from __future__ import annotations

import re
from dataclasses import dataclass

from meshpass.audit.record import DecisionRecord, Verdict

# Kubernetes makes the ends of Pods' names of these characters only, so that no words come out.
_GENERATED = r"(-[0-9bcdfghjklmnpqrstvwxz]{5,10})?(-[0-9bcdfghjklmnpqrstvwxz]{5}|-\d+)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """All that is given has to hold; nothing given takes every record."""

    denied: bool = False
    policy: str | None = None
    """The whole name, or its last part."""
    route: str | None = None
    """The whole name, or what it begins with, up to a dot: ``route``, ``route.table``, …"""
    workload: str | None = None
    """The workload whose proxy it is: the Pod's name, without what Kubernetes appended to it."""
    namespace: str | None = None
    """The namespace of the proxy's workload."""
    since: float | None = None
    """Seconds since 1970."""

    def matches(self, record: DecisionRecord) -> bool:
        """True for a record that is wanted."""
        return (
            (not self.denied or record.verdict is Verdict.DENIED)
            and (self.since is None or record.time >= self.since)
            and (self.policy is None or self.policy in {record.policy, record.policy.rpartition("/")[2]})
            and (self.route is None or f"{record.route}.".startswith(f"{self.route}."))
            and self._matches_proxy(record.proxy)
        )

    def _matches_proxy(self, node: str) -> bool:
        if self.workload is None and self.namespace is None:
            return True
        _, _, namespace, pod = (*node.split("~", 3), "", "", "", "")[:4]
        return (self.namespace is None or namespace == self.namespace) and (
            self.workload is None or re.fullmatch(re.escape(self.workload) + _GENERATED, pod) is not None
        )
