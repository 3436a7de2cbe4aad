"""Names that several ExternalServices and VirtualDestinations of one workspace claim on one port: the oldest has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshpass.api.objectset import ObjectKey
from meshpass.translate.externalentry import ExternalEntry
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.virtualentry import VirtualEntry


def find_shared_names(outside: Mapping[str, tuple[ExternalEntry | VirtualEntry, ...]]) -> Iterator[Finding]:
    """A warning for each name and port that a younger object of a workspace does not get; ``outside`` is oldest first."""
    for entries in outside.values():
        owners: dict[tuple[str, int], ObjectKey] = {}
        for entry in entries:
            for name in entry.names:
                for port in entry.ports:
                    owner = owners.setdefault((name, port.number), entry.key)
                    if owner != entry.key:
                        yield _conflict(entry.key, name, port.number, owner)


def _conflict(key: ObjectKey, name: str, port: int, owner: ObjectKey) -> Finding:
    message = (
        f"{name}:{port} without a route table leads to the older {owner.kind} {owner.namespace}/{owner.name} "
        f"of cluster {owner.cluster}"
    )
    return Finding(key=key, severity=Severity.WARNING, reason=Reason.CONFLICTED, message=message)
