"""RequestCounter: how many requests had which verdict, under which policy, for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from meshpass.audit.record import DecisionRecord

MAX_SERIES = 2000
OTHER = "(other)"
"""Stands for what came when there were too many series already: a total is never short of a request."""


class Series(NamedTuple):
    """What one number is about."""

    policy: str
    provider: str
    verdict: str
    reason: str


class RequestCounter:
    """Counts since the start. Its size is bounded, whatever is in the records."""

    def __init__(self, *, max_series: int = MAX_SERIES) -> None:
        self._max_series = max_series
        self._counts: Counter[Series] = Counter()

    @property
    def counts(self) -> Mapping[Series, int]:
        """Number of requests of each series."""
        return MappingProxyType(self._counts)

    def add(self, record: DecisionRecord) -> None:
        """The record is counted."""
        verdict = record.verdict.value
        series = Series(record.policy, record.provider, verdict, record.reason)
        if series not in self._counts and len(self._counts) >= self._max_series:
            series = Series(OTHER, OTHER, verdict, OTHER)
        self._counts[series] += 1
