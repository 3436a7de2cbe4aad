"""Destinations of frozen tables, which may be gone, or be spoken to otherwise, since the table was translated."""

from __future__ import annotations

from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination, make_destination, make_external_destination
from meshpass.translate.externalentry import ExternalEntry


def is_current(destination: Destination, catalog: Catalog) -> bool:
    """True where the object is there and its port is still reached under the name of this backend.

    Anything else has no endpoints: under one name a proxy does not begin to speak, say, plain text instead of TLS.
    """
    entry = catalog.get(destination.key)
    port = next((one for one in entry.ports if one.number == destination.port), None) if entry is not None else None
    if entry is None or port is None:
        return False
    http = not destination.tunnel
    if isinstance(entry, ExternalEntry):
        name = destination.host if entry.by_name else ""
        return make_external_destination(entry, entry.port(port.number), name, http=http).backend == destination.backend
    return make_destination(entry, port, destination.subset, http=http).backend == destination.backend
