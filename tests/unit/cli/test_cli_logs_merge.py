"""The logs of several processes are one."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager

import pytest

from meshpass.cli.logmerge import follow_merged, merge_kept
from meshpass.errors import LocalMeshError


def line(time, who):
    return json.dumps({"time": time, "who": who})


def test_kept_records_are_in_the_order_of_time():
    """Although a process is told of some a little later."""
    logs = [[line(4.0, "a"), line(1.0, "a")], [line(2.0, "b"), line(3.0, "b"), line(5.0, "b")], []]

    found = [json.loads(one) for one in merge_kept([iter(log) for log in logs])]
    assert [one["time"] for one in found] == [1.0, 2.0, 3.0, 4.0, 5.0]


def opened(lines, *, until=None, failure=None):
    """A log that gives these lines, and ends, fails, or goes on when an event says so."""

    @contextmanager
    def open_it():
        def read():
            yield from lines
            if until is not None:
                until.wait(10)
            if failure is not None:
                raise LocalMeshError(failure)

        yield read()

    return open_it


def test_what_comes_at_the_same_time_is_put_in_order():
    """Although one process tells later than the other."""
    logs = [opened([line(2.0, "a"), line(4.0, "a")]), opened([line(1.0, "b"), line(3.0, "b")])]

    assert [json.loads(one)["time"] for one in follow_merged(logs)] == [1.0, 2.0, 3.0, 4.0]


def test_a_record_is_shown_while_all_logs_go_on():
    """Nobody waits for the next one."""
    end = threading.Event()
    lines = follow_merged([opened([line(1.0, "a")], until=end), opened([], until=end)])

    assert json.loads(next(lines))["who"] == "a"
    end.set()
    assert list(lines) == []


def test_a_process_that_ends_leaves_the_others():
    """Its failure is told once none is left."""
    lines = follow_merged([opened([], failure="gone"), opened([line(1.0, "b")])])

    assert json.loads(next(lines))["who"] == "b"
    with pytest.raises(LocalMeshError, match="gone"):
        next(lines)
