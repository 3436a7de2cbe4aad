"""Which part of a log is shown, and how."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from starlette.datastructures import QueryParams

from meshpass.apiserver.podlog import render_line, render_log
from meshpass.apiserver.podlogoptions import LogOptions, parse_log_options
from meshpass.apiserver.podruntime import LogLine
from meshpass.apiserver.status import StatusError

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


class Cursor:
    """A log of batches of lines, a second apart; ``later`` comes when what is there has been read."""

    def __init__(self, *batches: str, later: tuple[str, ...] = (), rest: bytes = b"") -> None:
        lines = iter(range(1000))
        self._batches = [[LogLine(at(next(lines)), f"{word}\n".encode()) for word in one.split()] for one in batches]
        self._later = [[LogLine(at(next(lines)), f"{word}\n".encode()) for word in one.split()] for one in later]
        self._rest = rest
        self._looked = False
        self.closed = False

    def read(self) -> list[LogLine]:
        if self._batches:
            return self._batches.pop(0)
        if not self._looked:
            self._looked = True
            return []
        return self._later.pop(0) if self._later else []

    def rest(self) -> list[LogLine]:
        text, self._rest = self._rest, b""
        return [LogLine(at(999), text)] if text else []

    @property
    def ended(self) -> bool:
        return self._looked and not self._later

    def close(self) -> None:
        self.closed = True


def at(second: int) -> datetime:
    return NOW + timedelta(seconds=second)


async def shown(cursor: Cursor, **options) -> str:
    async with asyncio.timeout(10):
        text = b"".join([piece async for piece in render_log(cursor, LogOptions(**options))]).decode()
    assert cursor.closed
    return text.replace("\n", " ").rstrip()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "a b c d rest"),
        ({"tail": 2}, "d rest"),
        ({"tail": 0}, ""),
        ({"tail": 99}, "a b c d rest"),
        ({"since": at(2)}, "c d rest"),
        ({"since": at(2), "tail": 1}, "rest"),
        ({"limit_bytes": 5}, "a b c"),
        ({"limit_bytes": 1000}, "a b c d rest"),
        ({"follow": True}, "a b c d e f rest"),
        ({"follow": True, "tail": 1}, "d e f rest"),
        ({"follow": True, "tail": 0}, "e f rest"),
        ({"follow": True, "limit_bytes": 9}, "a b c d e"),
    ],
)
async def test_the_part_that_is_asked_for(options, expected):
    """A followed log ends with the run; one that is not shows the beginning of a line that is not complete."""
    assert await shown(Cursor("a b", "c d", later=("e", "f"), rest=b"rest"), **options) == expected


def test_times_are_those_of_a_kubelet():
    """In UTC with nanoseconds."""
    line = LogLine(NOW.astimezone(), b"text\n")
    assert render_line(line, timestamps=True) == b"2026-01-02T03:04:05.000678000Z text\n"
    assert render_line(line, timestamps=False) == b"text\n"


def test_options_of_a_query():
    """With Kubernetes' names."""
    query = "follow=true&previous=false&timestamps=true&tailLines=5&sinceSeconds=60&limitBytes=7"
    assert parse_log_options(QueryParams(query), "p", NOW) == LogOptions(
        follow=True, timestamps=True, tail=5, limit_bytes=7, since=NOW - timedelta(minutes=1)
    )
    assert parse_log_options(QueryParams("sinceTime=2026-01-02T03:04:05%2B01:00"), "p", NOW).since == datetime(
        2026, 1, 2, 2, 4, 5, tzinfo=UTC
    )
    forever = parse_log_options(QueryParams("sinceSeconds=99999999999999"), "p", NOW).since
    assert forever is not None
    assert forever < NOW


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("tailLines=-1", 422),
        ("sinceSeconds=0", 422),
        ("limitBytes=0", 422),
        ("sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z", 422),
        ("tailLines=many", 400),
        (f"tailLines={2**63}", 400),
        ("sinceTime=yesterday", 400),
    ],
)
def test_options_that_make_no_sense(query, code):
    """As Kubernetes answers them."""
    with pytest.raises(StatusError) as caught:
        parse_log_options(QueryParams(query), "p", NOW)
    assert caught.value.code == code
