"""KeySetFetcher: keeps the key sets of all sources fresh, each with at most one request at a time for the whole mesh."""

from __future__ import annotations

import asyncio
import logging
import random as randomness
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from meshpass.jwks.download import Download
from meshpass.jwks.failure import FetchError
from meshpass.jwks.savedkeys import SavedKeys, SavedKeysDirectory
from meshpass.jwks.source import Source, SourceReport
from meshpass.jwks.url import shown_url
from meshpass.observable import Observable
from meshpass.translate.keysource import KeyFetch, KeySets, KeySource

logger = logging.getLogger(__name__)

MAX_REQUESTS = 64
"""Requests at a time, over all sources."""


class KeySetFetcher(Observable):
    """Fetches what `follow` names, as long as `run` runs.

    - ``revision`` grows whenever ``key_sets`` is another one.
    - A source that fails keeps the keys that it has, however old, here and over restarts: what was saved in
      ``directory`` is in ``key_sets`` from the beginning.
    - Only a key set that was read whole, in time, and with a usable key replaces another one.
    - Not thread-safe: it lives in one event loop.
    """

    def __init__(
        self,
        directory: Path,
        download: Download,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        super().__init__()
        self._files = SavedKeysDirectory(directory)
        self._download = download
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._random = random
        self._requests = asyncio.Semaphore(MAX_REQUESTS)
        self._sources: dict[KeySource, Source] = {}
        self._woken: dict[KeySource, asyncio.Event] = {}
        self._loaded: dict[KeySource, SavedKeys] | None = self._files.load()
        self._key_sets: KeySets = MappingProxyType(
            {
                key: known
                for key, saved in sorted(self._loaded.items())
                if (known := Source(key, KeyFetch(), saved, random).fetched()) is not None
            }
        )
        self._followed = asyncio.Event()
        self._progress = asyncio.Event()

    @property
    def key_sets(self) -> KeySets:
        """What is known of every followed source; before the first `follow`, what was saved. Never changed in place."""
        return self._key_sets

    def follow(self, sources: Mapping[KeySource, KeyFetch]) -> None:
        """Exactly these are fetched from now on. The same call again changes nothing.

        The first call also ends the life of files of other sources; a source that goes later keeps its file until the
        next start, in case it comes back.
        """
        for key in self._sources.keys() - sources.keys():
            del self._sources[key], self._woken[key]
        for key, fetch in sources.items():
            source = self._sources.get(key)
            if source is None:
                saved = self._files.read(key) if self._loaded is None else self._loaded.get(key)
                self._sources[key] = Source(key, fetch, saved, self._random)
                self._woken[key] = asyncio.Event()
            elif source.change(fetch):
                self._woken[key].set()
        if self._loaded is not None:
            self._loaded = None
            self._files.keep_only(sources.keys())
        self._followed.set()
        self._tell_progress()
        self._publish()

    def report(self) -> tuple[SourceReport, ...]:
        """What people are told of every source, sorted by address."""
        return self._report(self._sources)

    async def refresh(self, url: str | None = None) -> tuple[SourceReport, ...]:
        """Every source with this URL (with or without its query), or every source, was asked after the call.

        The answer is their reports, sorted; empty where no source has the URL. A request that is under way counts as
        one before the call, and calls at the same time share the next one.
        """
        asked = [source for key, source in self._sources.items() if url in {None, key.url, shown_url(key.url)}]
        targets = [(source, source.ask()) for source in asked]
        for source in asked:
            self._woken[source.key].set()
        for source, target in targets:
            while self._sources.get(source.key) is source and source.finished < target:
                await self._progress.wait()
        return self._report(source.key for source in asked)

    def note_unknown_kid(self, source: KeySource, kid: str | None = None) -> None:
        """A proxy saw a token whose key (``kid``, where it is known) is not in the source's set.

        The source is asked soon, within the limits of ``meshpass.jwks.source``; for a source that is not followed
        nothing happens.
        """
        known = self._sources.get(source)
        if known is not None and known.note_unknown_kid(self._monotonic(), kid):
            self._woken[source].set()

    async def run(self) -> NoReturn:
        """Fetches until cancelled."""
        running: dict[Source, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._followed.clear()
                wanted = set(self._sources.values())
                for source in running.keys() - wanted:
                    running.pop(source).cancel()
                for source in wanted - running.keys():
                    running[source] = tasks.create_task(self._keep_fresh(source, self._woken[source.key]))
                await self._followed.wait()

    async def _keep_fresh(self, source: Source, woken: asyncio.Event) -> None:
        while True:
            woken.clear()
            delay = source.due() - self._monotonic()
            if delay > 0:
                await self._sleep_unless(woken, delay)
            else:
                await self._refresh_one(source, woken)

    async def _sleep_unless(self, woken: asyncio.Event, seconds: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(woken.wait())
            sleeping = tasks.create_task(_await(self._sleep(seconds)))
            waiting.add_done_callback(lambda _: sleeping.cancel())
            sleeping.add_done_callback(lambda _: waiting.cancel())

    async def _refresh_one(self, source: Source, woken: asyncio.Event) -> None:
        source.start(self._monotonic())
        saved: SavedKeys | None = None
        pause: float | None = None
        while True:
            try:
                saved = await self._request(source)
            except FetchError as error:
                self._log_failure(source, error)
                pause = source.fail(error)
            if saved is not None or pause is None:
                break
            self._publish()
            until = self._monotonic() + pause
            while (left := until - self._monotonic()) > 0 and not source.asked_again:
                woken.clear()
                await self._sleep_unless(woken, left)
            if source.asked_again:
                break
        source.finish(self._monotonic())
        self._publish()
        self._tell_progress()
        if saved is not None:
            await asyncio.to_thread(self._files.write, saved)

    async def _request(self, source: Source) -> SavedKeys:
        known = source.saved
        try:
            async with self._requests:
                answer = await self._download(source.key, source.fetch, source.validators)
            saved = source.succeed(answer, self._clock())
        except FetchError:
            raise
        except Exception as error:
            # Whatever a server finds to confuse us with is one more failed request; its words are not repeated.
            raise FetchError(f"the answer could not be handled ({type(error).__name__})") from error
        if known is None or known.jwks != saved.jwks:
            logger.info("key set changed", extra=_named(source))
        return saved

    def _log_failure(self, source: Source, error: FetchError) -> None:
        if source.error != error.reason:
            logger.warning("key set not fetched", extra={**_named(source), "error": error.reason})

    def _publish(self) -> None:
        fetched = {key: source.fetched() for key, source in sorted(self._sources.items())}
        key_sets = {key: known for key, known in fetched.items() if known is not None}
        if key_sets == self._key_sets:
            return
        self._key_sets = MappingProxyType(key_sets)
        self._count_change()

    def _tell_progress(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    def _report(self, keys: Iterable[KeySource]) -> tuple[SourceReport, ...]:
        now, wall = self._monotonic(), self._clock()
        return tuple(self._sources[key].report(now, wall) for key in sorted(keys) if key in self._sources)


async def _await(awaitable: Awaitable[object]) -> None:
    await awaitable


def _named(source: Source) -> dict[str, str]:
    return {"url": shown_url(source.key.url), "destination": source.key.destination}
