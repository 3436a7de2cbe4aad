"""Source: what is known of one remote key set, and when to ask for it next. Pure: told the time, does no IO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from meshpass.api.objectset import ObjectKey
from meshpass.jwks.download import Answer, Validators
from meshpass.jwks.failure import FetchError
from meshpass.jwks.freshness import show_time
from meshpass.jwks.keyset import KeyLabel, describe_skipped, key_labels, read_remote_keys
from meshpass.jwks.savedkeys import SavedKeys
from meshpass.jwks.schedule import MAX_RETRIES, TokenBucket, failure_delay, refresh_delay, retry_delay
from meshpass.jwks.url import shown_url
from meshpass.translate.keysource import FetchedKeys, KeyFetch, KeySource

UNKNOWN_KID_BURST = 4
UNKNOWN_KID_REFILL_SECONDS = 30.0
UNKNOWN_KID_SPACING_SECONDS = 5.0
"""Anybody can send tokens with invented kids: four of them cause a request each, further ones two a minute, and never
one within five seconds of any other request to the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What people are told of a source."""

    url: str
    """Without its query."""
    destination: str
    keys: tuple[KeyLabel, ...]
    skipped: tuple[str, ...]
    """Keys of the server that are not used, in words."""
    fetched_at: float | None
    """The last success, in seconds since 1970."""
    age_seconds: float | None
    last_error: str
    """Why the last request failed; empty after a success."""
    next_fetch_in: float | None
    """Seconds; None while a request is under way."""
    policies: tuple[ObjectKey, ...]


class Source:
    """One source and its schedule. ``now`` is always the monotonic time, ``wall`` seconds since 1970.

    A refresh is one request, or several where the first ones fail. `start`, then one of `succeed` and `fail` for each
    request, and after the last `finish`.
    """

    def __init__(self, key: KeySource, fetch: KeyFetch, saved: SavedKeys | None, random: Callable[[], float]) -> None:
        self.key = key
        self.fetch = fetch
        self.saved = saved
        self.error = ""
        self.started = 0
        """How many refreshes have begun."""
        self.finished = 0
        """How many have ended."""
        self._asked = 0
        self._tries = 0
        self._problem = ""
        self._failures = 0
        self._next = 0.0
        self._server_seconds: float | None = None
        self._ended = 0.0
        self._random = random
        self._unknown_kid: str | None = None
        self._unknown_at: float | None = None
        self._bucket = TokenBucket(
            capacity=UNKNOWN_KID_BURST,
            refill_seconds=UNKNOWN_KID_REFILL_SECONDS,
            spacing=UNKNOWN_KID_SPACING_SECONDS,
        )

    def change(self, fetch: KeyFetch) -> bool:
        """The policies want it so from now on; True where that makes a difference to when or where to ask."""
        before, self.fetch = self.fetch, fetch
        if _how(before) == _how(fetch):
            return False
        if self.finished and not self._failures:
            self._next = self._ended + refresh_delay(fetch.cache_seconds, self._server_seconds, self._random())
        elif self._failures:
            # What failed may work now. Changes that come in quick succession do not make it hurry.
            self._next = min(self._next, self._ended + failure_delay(fetch.failed_refetch_seconds, 1, self._random()))
        return True

    def ask(self) -> int:
        """A refresh is due at once; the answer is what ``finished`` will be after the first one that began later."""
        self._asked = self.started + 1
        return self._asked

    @property
    def asked_again(self) -> bool:
        """True when somebody asked since the last refresh began."""
        return self._asked > self.started

    def note_unknown_kid(self, now: float, kid: str | None) -> bool:
        """A token named a key that is not in the set; True where that makes a refresh due earlier.

        False for a kid that is in the set by now, and while the source fails: then the retries are on their way.
        """
        if self._failures or not self.started or self._unknown_at is not None or self._knows(kid):
            return False
        self._unknown_kid, self._unknown_at = kid, self._bucket.next_time(now)
        return True

    def due(self) -> float:
        """When the next refresh is to begin."""
        if self.asked_again or not self.started:
            return 0.0
        return self._next if self._unknown_at is None else min(self._next, self._unknown_at)

    def start(self, now: float) -> None:
        """A refresh begins."""
        if self._unknown_at is not None and now >= self._unknown_at:
            self._bucket.take(now)
            self._unknown_at = None
        self._bucket.space(now)
        self.started += 1
        self._tries = 0

    @property
    def validators(self) -> Validators:
        """What to send with the request."""
        return Validators(self.saved.etag, self.saved.last_modified) if self.saved is not None else Validators()

    def succeed(self, answer: Answer, wall: float) -> SavedKeys:
        """The keys are those of the answer, and to be saved. Raises FetchError, changing nothing, if it holds none."""
        etag, last_modified = answer.validators
        if answer.body is None:
            if self.saved is None:
                raise FetchError("the server answered 304 to a request without conditions")
            saved = msgspec.structs.replace(self.saved, fetched_at=wall, etag=etag, last_modified=last_modified)
        else:
            keys = read_remote_keys(answer.body)
            saved = SavedKeys(
                url=self.key.url,
                destination=self.key.destination,
                jwks=keys.jwks,
                fetched_at=wall,
                etag=etag,
                last_modified=last_modified,
                skipped=keys.skipped,
            )
        self.saved = saved
        self.error = self._problem = ""
        self._failures = 0
        self._server_seconds = answer.lifetime
        if self._unknown_at is not None and self._unknown_kid is not None and self._knows(self._unknown_kid):
            self._unknown_at = None
        return saved

    def fail(self, error: FetchError) -> float | None:
        """The request failed; the answer is how many seconds later to try again, None where this refresh has failed."""
        self.error = error.reason
        if self.saved is None:
            self._problem = error.reason
        retries = min(self.fetch.retries, MAX_RETRIES) if error.transient else 0
        if self._tries < retries:
            self._tries += 1
            return retry_delay(
                self.fetch.retry_base_seconds, self.fetch.retry_max_seconds, self._tries - 1, self._random()
            )
        self._problem = error.reason
        self._failures += 1
        return None

    def finish(self, now: float) -> None:
        """The refresh is over."""
        self.finished = self.started
        self._ended = now
        if self._failures:
            self._next = now + failure_delay(self.fetch.failed_refetch_seconds, self._failures, self._random())
            self._unknown_at = None
        else:
            self._next = now + refresh_delay(self.fetch.cache_seconds, self._server_seconds, self._random())

    def fetched(self) -> FetchedKeys | None:
        """What translation is told; None as long as there is nothing to tell."""
        if self.saved is None:
            return FetchedKeys(jwks=None, problem=f"could not be fetched: {self._problem}") if self._problem else None
        problem = ""
        if self._problem:
            since = show_time(self.saved.fetched_at)
            problem = f"could not be fetched again: {self._problem}; the keys of {since} are in use"
        elif self.saved.skipped:
            problem = f"some of its keys cannot be used{describe_skipped(self.saved.skipped)}"
        return FetchedKeys(jwks=self.saved.jwks, problem=problem)

    def report(self, now: float, wall: float) -> SourceReport:
        """What people are told."""
        saved = self.saved
        return SourceReport(
            url=shown_url(self.key.url),
            destination=self.key.destination,
            keys=key_labels(saved.jwks) if saved is not None else (),
            skipped=saved.skipped if saved is not None else (),
            fetched_at=saved.fetched_at if saved is not None else None,
            age_seconds=max(wall - saved.fetched_at, 0.0) if saved is not None else None,
            last_error=self.error,
            next_fetch_in=None if self.started > self.finished else max(self.due() - now, 0.0),
            policies=self.fetch.policies,
        )

    def _knows(self, kid: str | None) -> bool:
        return kid is not None and self.saved is not None and any(kid == key.kid for key in key_labels(self.saved.jwks))


def _how(fetch: KeyFetch) -> tuple[object, ...]:
    return (
        fetch.endpoints,
        fetch.cache_seconds,
        fetch.timeout_seconds,
        fetch.retries,
        fetch.retry_base_seconds,
        fetch.retry_max_seconds,
        fetch.failed_refetch_seconds,
    )
