"""Facts → the sections of ``check`` on what the mesh was told: keys, certificates, objects, feature gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from meshpass.cli.check_facts import Facts
from meshpass.cli.check_page import Mark, Problem, Section, untold
from meshpass.cli.check_text import count, object_name, shorten
from meshpass.cli.duration import show_duration

WARN_DAYS = 30
"""Certificates with fewer days left are told of."""

_SERVER_HINT = (
    "of an embedded API server it is renewed by a start within its last 7 days: `meshpass down`, then `meshpass up`"
)
_RENEWAL_HINT = "store a new certificate there; proxies take it over without a restart"


_NO_EFFECT = "NoEffect"
"""The reason of fields that Meshpass does not act on yet: all else of the object holds."""


class _Certificate(NamedTuple):
    source: str
    expires: datetime
    proxies: tuple[str, ...]
    hint: str


def key_sets(facts: Facts) -> Section:
    """The remote key sets: their age, and what failed last."""
    answer = facts.control.answer
    if answer is None:
        return untold("keySets", "Key sets")
    sources = answer["keySets"]
    ages = [source["ageSeconds"] for source in sources if source["ageSeconds"] is not None]
    oldest = f", the oldest {show_duration(max(ages))} ago" if ages else ""
    return Section(
        name="keySets",
        title="Key sets",
        summary=f"{len(ages)} of {len(sources)} fetched{oldest}" if sources else "none are remote",
        problems=tuple(problem for source in sources for problem in _key_set_problems(source)),
        items=tuple(sources),
    )


def _key_set_problems(source: Mapping[str, Any]) -> Iterator[Problem]:
    where, age = f"key set {source['url']}", source["ageSeconds"]
    policies = ", ".join(f"{one['cluster']}/{one['namespace']}/{one['name']}" for one in source["policies"])
    again = f"is its server up? `meshpass jwks refresh {source['url']}` asks it again"
    if source["lastError"]:
        known = (
            f"the keys of {show_duration(age)} ago are in use"
            if age is not None
            else f"there are no keys, so its tokens are refused (JWTPolicy {shorten(policies)})"
        )
        yield Problem(
            mark=Mark.BAD, where=where, what=f"not fetched: {shorten(source['lastError'])}; {known}", hint=again
        )
    elif age is None:
        yield Problem(mark=Mark.WARNING, where=where, what="is being fetched for the first time", hint=again)
    if source["skipped"]:
        what = f"some keys are not used: {shorten('; '.join(source['skipped']))}"
        yield Problem(mark=Mark.WARNING, where=where, what=what, hint="tokens that are signed with them are refused")


def certificates(facts: Facts) -> Section:
    """How long the certificates last that API servers and proxies show."""
    answer = facts.control.answer
    served = [
        _Certificate(f"API server of {one.cluster}", one.expires, (), _SERVER_HINT)
        for one in facts.servers
        if one.expires is not None
    ]
    shown = [
        _Certificate(one["source"], datetime.fromisoformat(one["notAfter"]), tuple(one["proxies"]), _RENEWAL_HINT)
        for one in (answer or {"certificates": ()})["certificates"]
    ]
    every = sorted((*served, *shown), key=lambda one: one.expires)
    first = f", the first expires in {_days_left(every[0], facts.now)} days ({every[0].source})" if every else ""
    return Section(
        name="certificates",
        title="Certificates",
        summary=f"{len(every)}{first}",
        problems=tuple(_certificate_problem(one, facts.now) for one in every if _days_left(one, facts.now) < WARN_DAYS),
        items=tuple(
            {
                "source": one.source,
                "notAfter": one.expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "daysLeft": _days_left(one, facts.now),
                "proxies": list(one.proxies),
            }
            for one in every
        ),
        unknown=answer is None,
    )


def _days_left(one: _Certificate, now: datetime) -> int:
    """Whole days; negative once it has expired."""
    return (one.expires - now).days


def _certificate_problem(one: _Certificate, now: datetime) -> Problem:
    left = (one.expires - now).total_seconds()
    if left <= 0:
        what = f"its certificate expired {show_duration(-left)} ago"
        return Problem(mark=Mark.BAD, where=one.source, what=what, hint=one.hint)
    what = f"its certificate expires in {show_duration(left)}"
    return Problem(mark=Mark.WARNING, where=one.source, what=what, hint=one.hint)


def objects(facts: Facts) -> Section:
    """The objects that are not ACCEPTED."""
    answer = facts.control.answer
    if answer is None:
        return untold("objects", "Objects")
    states, wrong = answer["objects"]["states"], answer["objects"]["notAccepted"]
    every = sum(states.values())
    return Section(
        name="objects",
        title="Objects",
        summary=f"{states.get('ACCEPTED', 0)} of {every} accepted" if every else "none yet",
        problems=tuple(
            Problem(
                mark=Mark.WARNING if one["reasons"] == [_NO_EFFECT] else Mark.BAD,
                where=object_name(one),
                what=f"{one['state']}: {shorten(one['message'])}",
                hint=f"`meshpass get {one['kind'].lower()} {one['name']} -n {one['namespace']} "
                f"--context {one['cluster']} -o yaml` shows its whole status",
            )
            for one in wrong
        ),
        items=tuple(wrong),
    )


def frozen_tables(facts: Facts) -> Section:
    """The route tables that do not serve what they say."""
    answer = facts.control.answer
    if answer is None:
        return untold("frozenTables", "Frozen tables")
    frozen = answer["frozen"]
    return Section(
        name="frozenTables",
        title="Frozen tables",
        summary=count(len(frozen), "table") if frozen else "none",
        problems=tuple(
            Problem(
                mark=Mark.WARNING,
                where=object_name(one),
                what="serves what it served when it was last right",
                hint="mend it, or the table below it that is broken: see Objects",
            )
            for one in frozen
        ),
        items=tuple(frozen),
    )


def feature_gates(facts: Facts) -> Section:
    """The feature gates that somebody has switched."""
    answer = facts.control.answer
    if answer is None:
        return untold("featureGates", "Feature gates")
    gates = answer["featureGates"]
    changed = [gate for gate in gates if gate["value"] != gate["default"]]
    return Section(
        name="featureGates",
        title="Feature gates",
        summary=f"{len(changed)} of {len(gates)} changed" if changed else "as by default",
        problems=tuple(
            Problem(
                mark=Mark.WARNING,
                where=gate["name"],
                what=f"is {_word(gate['value'])}; by default it is {_word(gate['default'])}",
                hint="if that is not meant: start the mesh without it in --feature-gates",
            )
            for gate in changed
        ),
        items=tuple(gates),
    )


def _word(value: bool) -> str:
    return str(value).lower()
