"""The log keeps the latest, drops for slow followers, and never waits."""

from __future__ import annotations

import asyncio

from tests.support.decision import make_record

from meshpass.audit.log import AuditLog, DropCause
from meshpass.audit.query import RecordFilter
from meshpass.audit.record import Verdict


def test_the_latest_are_kept():
    """In the order in which they came; all are counted."""
    log = AuditLog(capacity=3)
    for number in range(5):
        log.append(make_record(time=float(number)))

    assert [record.time for record in log.select()] == [2.0, 3.0, 4.0]
    assert sum(log.counter.counts.values()) == 5
    assert sum(log.dropped.values()) == 0


def test_bytes_are_bounded():
    """Long records leave room for fewer."""
    small = make_record()
    log = AuditLog(max_bytes=small.size * 10)
    for _ in range(20):
        log.append(small)
    assert len(log.select()) == 10

    log.append(make_record(path="/" + "x" * small.size * 3))
    assert len(log.select()) < 9


def test_a_record_that_is_too_large_alone():
    """Leaves the log empty rather than too large."""
    log = AuditLog(max_bytes=10)
    log.append(make_record())

    assert log.select() == ()


def test_select():
    """Only what is wanted."""
    log = AuditLog()
    log.append(make_record(verdict=Verdict.ALLOWED))
    log.append(make_record(verdict=Verdict.DENIED))

    assert [one.verdict for one in log.select(RecordFilter(denied=True))] == [Verdict.DENIED]


async def test_followers_get_what_comes():
    """Each its own, from the moment of subscribing, while it is subscribed."""
    log = AuditLog()
    log.append(make_record(time=0.0))
    with log.subscribe() as every, log.subscribe(RecordFilter(since=2.0)) as late:
        log.append(make_record(time=1.0))
        log.append(make_record(time=2.0))
        assert [one.time for one in await anext(every)] == [1.0, 2.0]
        assert [one.time for one in await anext(late)] == [2.0]

        waiting = asyncio.gather(anext(every))
        await asyncio.sleep(0)
        assert not waiting.done()
        log.append(make_record(time=3.0))
        assert [one.time for (one,) in await waiting] == [3.0]

    log.append(make_record(time=4.0))
    assert [one.time for one in await anext(late)] == [3.0]
    waiting = asyncio.gather(anext(late))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_a_slow_follower_loses_records_and_nobody_waits():
    """What does not fit is counted for it; the log and the others have everything."""
    log = AuditLog()
    with log.subscribe(capacity=2) as slow, log.subscribe(capacity=9) as quick:
        for number in range(5):
            log.append(make_record(time=float(number)))

        assert [one.time for one in await anext(slow)] == [0.0, 1.0]
        assert (slow.dropped, quick.dropped) == (3, 0)
        assert len(await anext(quick)) == 5
    assert len(log.select()) == 5
    assert log.dropped == {DropCause.SUBSCRIBER: 3, DropCause.OVERLOAD: 0}


def test_what_nobody_read_is_counted():
    """By its own cause."""
    log = AuditLog()
    log.count_dropped(7)

    assert log.dropped[DropCause.OVERLOAD] == 7
