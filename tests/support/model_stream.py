"""ModelStream: a ModelEnvoy at the end of an AdsStream, which takes what it is sent one resource after the other."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from tests.support.model_envoy import ModelEnvoy

from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTES, SECRET, Resource, Snapshot
from meshpass.xds.event import Event, Send
from meshpass.xds.request import DeltaRequest
from meshpass.xds.stream import AdsStream

NODE = "sidecar~cluster1~httpbin~client"
ORDER = (CLUSTER, ENDPOINTS, SECRET, LISTENER, EXTENSION_CONFIG, ROUTES)
"""In which a client that resumes asks; those that it has nothing of it leaves out."""


class ModelStream:
    """A client that resumes with what the model has. ``took`` is called after each resource that it takes."""

    def __init__(self, stream: AdsStream, model: ModelEnvoy, took: Callable[[str], None]) -> None:
        self.stream = stream
        self.model = model
        self.sent: list[Resource] = []
        """All that it was sent."""
        self._took = took
        self._inbox: list[Send] = []
        self._refusals: dict[str, str] = {}

    def refuse(self, name: str, version: str) -> None:
        """The resource of this name is refused in this version."""
        self._refusals[name] = version

    def resume(self) -> None:
        """Every type that there is something of is asked for."""
        for type_url in ORDER:
            if versions := self.model.versions.get(type_url):
                names = ("*",) if type_url in {CLUSTER, LISTENER} else tuple(versions)
                self._receive(
                    DeltaRequest(
                        type_url=type_url, subscribe=names, initial_versions=MappingProxyType(versions), node=NODE
                    )
                )

    def retarget(self, snapshot: Snapshot) -> None:
        """The control plane has another target."""
        self._take(self.stream.retarget(snapshot))

    def settle(self) -> None:
        """The control plane waits for no further types."""
        self._take(self.stream.settle())

    def answer(self, count: int = 1_000_000) -> bool:
        """So many responses are taken and answered. True if none is left."""
        for _ in range(count):
            if not self._inbox:
                return True
            send = self._inbox.pop(0)
            bad = [one.name for one in send.resources if self._refusals.get(one.name) == one.version]
            for resource in send.resources:
                if not bad:
                    self.model.take(resource)
                    self._took(resource.name)
            for name in send.removed:
                self.model.drop(send.type_url, name)
                self._took(f"the end of {name}")
            self._receive(
                DeltaRequest(type_url=send.type_url, nonce=send.nonce, error="the words of Envoy" if bad else None)
            )
        return not self._inbox

    def _receive(self, request: DeltaRequest) -> None:
        self._take(self.stream.receive(request))

    def _take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, Send):
                self._inbox.append(event)
                self.sent += event.resources
