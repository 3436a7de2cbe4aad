"""PlacedMatch: the conditions of a route, and the port that it is for; and how two of them are ANDed for delegation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from meshpass.ir import PathExact, PathMatch, PathPrefix, PathRegex, RouteMatch
from meshpass.ir.match import ANY_PATH
from meshpass.regex import compile_regex


class PlacedMatch(NamedTuple):
    """Conditions on a request to one port of the host; None: to any."""

    port: int | None
    match: RouteMatch


ANY_REQUEST = PlacedMatch(None, RouteMatch())


def conjoin(parent: PlacedMatch, child: PlacedMatch) -> PlacedMatch | None:
    """What meets both; None where nothing can (behaviour §5.7: plain AND, no joining of paths)."""
    if parent is ANY_REQUEST:
        return child
    if parent.port is not None and child.port not in {None, parent.port}:
        return None
    above, below = parent.match, child.match
    if above.method is not None and below.method not in {None, above.method}:
        return None
    paths = _conjoin_paths((above.path, *above.also, below.path, *below.also))
    if paths is None:
        return None
    first, *rest = paths
    return PlacedMatch(
        child.port if parent.port is None else parent.port,
        RouteMatch(
            path=first,
            also=tuple(rest),
            headers=tuple(dict.fromkeys((*above.headers, *below.headers))),
            query_parameters=tuple(dict.fromkeys((*above.query_parameters, *below.query_parameters))),
            method=below.method if above.method is None else above.method,
        ),
    )


def _conjoin_paths(paths: Iterable[PathMatch]) -> list[PathMatch] | None:
    """The least that says all of it, what decides most first: an exact path, an expression, the longest prefix."""
    left = [path for path in dict.fromkeys(paths) if path != ANY_PATH] or [ANY_PATH]
    # An exact path of exact case answers for itself whether the others hold.
    for path in left:
        if isinstance(path, PathExact) and not path.ignore_case:
            return [path] if all(_holds(other, path.value) for other in left) else None
    if any(_disjoint(one, other) for one in left for other in left):
        return None
    for one in list(left):
        if any(other is not one and _implies(other, one) for other in left):
            left.remove(one)
    return sorted(left, key=_rank)


def _holds(condition: PathMatch, path: str) -> bool:
    match condition:
        case PathExact(value, ignore_case):
            return _fold(path, ignore_case) == _fold(value, ignore_case)
        case PathPrefix(value, ignore_case):
            return _fold(path, ignore_case).startswith(_fold(value, ignore_case))
        case PathRegex(value):
            return compile_regex(f"^(?:{value})$").is_in(path)


def _disjoint(one: PathMatch, other: PathMatch) -> bool:
    """True when no path can meet both, as far as that can be told; of two expressions it cannot."""
    if isinstance(one, PathRegex) or isinstance(other, PathRegex):
        return False
    fold = one.ignore_case or other.ignore_case
    left, right = _fold(one.value, fold), _fold(other.value, fold)
    if isinstance(one, PathExact):
        return left != right if isinstance(other, PathExact) else not left.startswith(right)
    return not (left.startswith(right) or right.startswith(left)) and isinstance(other, PathPrefix)


def _implies(one: PathMatch, other: PathMatch) -> bool:
    """True when every path that meets ``one`` meets ``other``, which is no copy of it."""
    if isinstance(one, PathRegex) or isinstance(other, PathRegex):
        return False
    if (one.ignore_case and not other.ignore_case) or (isinstance(other, PathExact) and isinstance(one, PathPrefix)):
        return False
    left, right = _fold(one.value, other.ignore_case), _fold(other.value, other.ignore_case)
    return left == right if isinstance(other, PathExact) else left.startswith(right)


def _fold(text: str, ignore_case: bool) -> str:
    return text.lower() if ignore_case else text


def _rank(path: PathMatch) -> tuple[int, int]:
    match path:
        case PathExact():
            return 0, 0
        case PathRegex():
            return 1, 0
        case PathPrefix(value):
            return 2, -len(value)


def specificity(placed: PlacedMatch) -> tuple[int, int]:
    """Sorts the most specific path first: exact, then expressions, then prefixes; of each the longer (behaviour §5.7).

    All expressions are equal.
    """
    match placed.match.path:
        case PathExact(value):
            return 0, -len(value)
        case PathRegex():
            return 1, 0
        case PathPrefix(value):
            return 2, -len(value)
