"""Destinations of frozen tables, which may be gone, or be spoken to otherwise, since the table was translated."""

from __future__ import annotations

from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination, make_destination, make_external_destination
from meshpass.translate.externalentry import ExternalEntry, ExternalPort


def is_current(destination: Destination, catalog: Catalog) -> bool:
    """True where the object is there and its port is still reached under the name of this backend.

    Anything else has no endpoints: under one name a proxy does not begin to speak, say, plain text instead of TLS.
    """
    entry = catalog.get(destination.key)
    port = entry.port(destination.port) if entry is not None else None
    if entry is None or port is None:
        return False
    http = not destination.tunnel
    if isinstance(entry, ExternalEntry) and isinstance(port, ExternalPort):
        name = destination.host if entry.by_name else ""
        return make_external_destination(entry, port, name, http=http).backend == destination.backend
    return make_destination(entry, port, destination.subset, http=http).backend == destination.backend
