"""Names of routes, unique within their table (behaviour §5.9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from meshpass.api.routetable import HTTPRoute


def route_names(routes: Iterable[HTTPRoute]) -> list[str]:
    """A name for each route: ``insecure-`` is cut off, repeats become ``duplicate-<name>-<n>``."""
    seen: Counter[str] = Counter()
    names = []
    for index, route in enumerate(routes):
        name = route.name.removeprefix("insecure-") or f"route-{index}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"duplicate-{name}-{seen[name] - 1}")
    return names
