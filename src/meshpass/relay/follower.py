"""Follower: what we hold of what a peer tells, and what to ask it. The client of the delta protocol, without IO."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meshpass.envoy.snapshot import content_version
from meshpass.errors import MeshpassError, XdsProtocolError
from meshpass.relay.message import DeltaResponse, Received
from meshpass.relay.resource import cluster_of, digest
from meshpass.relay.typeurl import END, REVISION, TYPE_ORDER, kind_of_url
from meshpass.xds.request import DeltaRequest
from meshpass.xds.subscription import WILDCARD

Accept = Callable[[str, str, bytes], object]
"""Type URL, name, content → what it says. Raises MeshpassError for what is not to be held."""
Versions = Mapping[str, Mapping[str, str]]
"""Type URL → name → version."""

MAX_STAGED_BYTES = 256 * 1024 * 1024
"""Of a batch whose end has not come. A peer that tells more has lost its mind."""
MAX_NAME_BYTES = 1024
MAX_REFUSED = 10_000
"""Of what is refused the names are kept, for as long as the peer tells it: not those of a peer that makes them up."""
MAX_REASON = 500
_PLACE_BYTES = 200
"""What a staged resource takes beside its content, at least."""
MAX_REASONS = 3
"""Of the resources that a response is refused for, so many are named."""


class DivergedError(MeshpassError):
    """What we hold is not what the peer says that we hold: the next connection has to begin from nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A whole batch: what we hold now that we did not, and what no longer."""

    changed: Mapping[str, Mapping[str, object]]
    """Type URL → name → what `Accept` made of it."""
    removed: Mapping[str, frozenset[str]]
    refused: tuple[str, ...] = ()
    """What the peer tells and we do not hold, with the reasons."""


@dataclass(frozen=True, slots=True)
class _Staged:
    version: str
    value: object


class Follower:
    """Asks for everything of every type, and takes in what comes until the batch is whole.

    ``held`` is what we have already; a Follower lives as long as one connection. A resource that is refused leaves what
    we held under its name, and the label of its cluster as it was: what we hold is not what that label stands for.
    """

    def __init__(self, accept: Accept, held: Versions, *, resume: bool = True) -> None:
        """``resume`` False: the peer is not told what we have, and tells everything."""
        self._accept = accept
        self._resume = resume
        self._held: dict[str, dict[str, str]] = {type_url: dict(held.get(type_url, {})) for type_url in TYPE_ORDER}
        self._unnamed = () if resume else tuple((t, name) for t, names in self._held.items() for name in names)
        self._digest = digest((t, name, version) for t, names in self._held.items() for name, version in names.items())
        self._staged: dict[tuple[str, str], _Staged | None] = {}
        self._staged_bytes = 0
        self._refused: dict[tuple[str, str], str] = {}

    def start(self) -> tuple[DeltaRequest, ...]:
        """The first requests, one for each type."""
        return tuple(
            DeltaRequest(
                type_url=type_url,
                subscribe=(WILDCARD,),
                initial_versions=MappingProxyType(self._held[type_url] if self._resume else {}),
            )
            for type_url in TYPE_ORDER
        )

    def receive(self, response: DeltaResponse) -> tuple[DeltaRequest, Delivery | None]:
        """The answer to the response, and the batch if it is whole with it.

        Raises XdsProtocolError for what the protocol does not allow, and DivergedError.
        """
        if response.type_url not in self._held:
            raise XdsProtocolError(f"nobody asked for {response.type_url}")
        reasons, end = [], None
        for resource in response.resources:
            if (response.type_url, resource.name) == (REVISION, END):
                end = resource
            elif reason := self._stage(response.type_url, resource):
                reasons.append(f"{resource.name}: {reason}")
        for name in response.removed:
            self._remove((response.type_url, name))
        delivery = self._finish(end) if end is not None else None
        more = f" (and {len(reasons) - MAX_REASONS} more)" if len(reasons) > MAX_REASONS else ""
        error = "; ".join(reasons[:MAX_REASONS]) + more if reasons else None
        return DeltaRequest(type_url=response.type_url, nonce=response.nonce, error=error), delivery

    def _remove(self, place: tuple[str, str]) -> None:
        """What is removed is not held any more; what was never told is not remembered either."""
        self._refused.pop(place, None)
        if place[1] in self._held[place[0]]:
            self._staged[place] = None
        else:
            self._staged.pop(place, None)

    def _stage(self, type_url: str, resource: Received) -> str:
        """Take the resource in; why not, if not."""
        if len(resource.name) > MAX_NAME_BYTES:
            raise XdsProtocolError(f"a name has more than {MAX_NAME_BYTES} bytes")
        place = (type_url, resource.name)
        if place not in self._staged and self._held[type_url].get(resource.name) == resource.version:
            # The peer sends it again, apart from others of its response that we refused.
            self._refused.pop(place, None)
            if self._resume:
                return ""
        self._staged_bytes += len(resource.body) + _PLACE_BYTES
        if self._staged_bytes > MAX_STAGED_BYTES:
            raise XdsProtocolError(f"a batch has more than {MAX_STAGED_BYTES} bytes")
        try:
            if resource.version != content_version(resource.body):
                raise XdsProtocolError("the version is not that of the content")
            value = self._accept(type_url, resource.name, resource.body)
        except MeshpassError as error:
            reason = str(error)[:MAX_REASON]
            self._refused[place] = reason
            if len(self._refused) > MAX_REFUSED:
                raise XdsProtocolError(f"more than {MAX_REFUSED} resources are refused: {reason}") from error
            self._staged.pop(place, None)
            return reason
        self._refused.pop(place, None)
        self._staged[place] = _Staged(resource.version, value)
        return ""

    def _finish(self, end: Received) -> Delivery:
        for place in self._unnamed:
            # Of what the peer was not told that we have, it cannot say that it is gone; what is refused stays.
            if place not in self._refused:
                self._staged.setdefault(place, None)
        self._unnamed = ()
        doubtful = {cluster_of(type_url, name) for type_url, name in self._refused if kind_of_url(type_url)}
        changed: dict[str, dict[str, object]] = {}
        removed: dict[str, set[str]] = {}
        for (type_url, name), staged in self._staged.items():
            before = self._held[type_url].get(name)
            if before is not None:
                self._digest ^= digest([(type_url, name, before)])
                del self._held[type_url][name]
            if staged is not None:
                self._digest ^= digest([(type_url, name, staged.version)])
                self._held[type_url][name] = staged.version
            if type_url == REVISION and name in doubtful and staged is not None:
                continue
            if staged is not None:
                changed.setdefault(type_url, {})[name] = staged.value
            elif before is not None:
                removed.setdefault(type_url, set()).add(name)
        self._staged, self._staged_bytes = {}, 0
        if not self._refused and end.body != str(self._digest).encode():
            raise DivergedError("what is held is not what the peer has told")
        return Delivery(
            changed=changed,
            removed={type_url: frozenset(names) for type_url, names in removed.items()},
            refused=tuple(f"{name}: {reason}" for (_, name), reason in self._refused.items()),
        )
