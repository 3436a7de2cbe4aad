"""Properties of the way from one state of who may call to another, together with tokens and modes of TLS."""

from __future__ import annotations

import itertools
from functools import cache
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.access_model import AccessModel, Call
from tests.support.access_objects import access_policy, allow, by_account, by_token
from tests.support.jwt_objects import provider
from tests.support.mesh_issuer import TRUST_DOMAIN, account
from tests.support.objects import BASE, SERVER, build_snapshots, jwt_policy, object_set, translate_objects
from tests.support.tokens import DEV_ISSUER, LOGIN_ISSUER

from meshpass.envoy.snapshot import TYPE_URL_ORDER, Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.memo import Memo
from meshpass.translate.identity import Identities, WorkloadCertificate

MEMO = Memo()
ON_SERVER: dict[str, Any] = {"applyToWorkloads": [{"selector": {"labels": {"app": "httpbin"}}}]}
_CERTIFICATES = {account(name): WorkloadCertificate("chain", "key") for name in ("client", "caller", "default")}
IDENTITIES = Identities(trust_domain=TRUST_DOMAIN, authorities="roots", certificates=MappingProxyType(_CERTIFICATES))

BY_CLIENT, BY_DEV, BY_ANYONE_WITH_A_TOKEN = by_account("client"), by_token(f"{DEV_ISSUER}/*"), by_token("*")
RULES: tuple[tuple[dict[str, Any], ...], ...] = (
    (),
    ({},),
    (allow(),),
    (allow(BY_CLIENT),),
    (allow(by_account("caller")),),
    (allow(BY_DEV),),
    (allow(BY_ANYONE_WITH_A_TOKEN), allow(BY_CLIENT)),
    (allow(by_token(but=("*/dev",))),),
    (allow(allowedIpBlocks=["broken"]),),
)
TOKENS: tuple[dict[str, Any] | None, ...] = (
    None,
    {"providers": {"dev": provider()}},
    {"providers": {"dev": provider(claimsToHeaders=[{"claim": "org", "header": "x-org"}])}},
    {"providers": {"dev": provider(), "login": provider(LOGIN_ISSUER)}, "validationPolicy": "ALLOW_MISSING"},
)
MODES = (None, "STRICT", "DISABLE")
STATES = tuple(itertools.product(RULES, TOKENS, MODES))

CALLS = tuple(
    Call(identity=identity, token=token)
    for identity in (None, account("client"), account("caller"))
    for token in (None, (DEV_ISSUER, "dev"), (LOGIN_ISSUER, "user"))
)


@cache
def snapshot(number: int) -> Snapshot:
    """Of a sidecar in one of the states."""
    rules, tokens, mode = STATES[number]
    objects = [access_policy(*rules, mode=mode, **ON_SERVER)] if rules or mode else []
    if tokens is not None:
        destinations = [{"selector": {"name": "httpbin"}}]
        objects.append(jwt_policy(applyToDestinations=destinations, config=tokens))
    translation = translate_objects(object_set(BASE, *objects), MEMO, identities=IDENTITIES)
    return build_snapshots(translation, MEMO)[SERVER]


def check(*way: int, order: int) -> None:
    """At every moment of a way, what the ends of its present part agree on is the answer, on new connections and on old.

    A newer target, of which there may be several, comes when a part of the steps to the one before is taken.
    """
    model, has = AccessModel(snapshot(way[0])), snapshot(way[0])
    agreed, kept = answers(model), model.bound
    plain = any(STATES[number][2] == "DISABLE" for number in way)
    open_ones = [call for call in CALLS if model.accepts(call, kept)]
    for index, number in enumerate(way[1:], 1):
        target = snapshot(number)
        after = answers(AccessModel(target))
        steps = plan_transition(has, target, MEMO)
        if index < len(way) - 1:
            steps = steps[: 1 + order % len(steps)]
        for step in steps:
            for type_url in TYPE_URL_ORDER:
                resources = sorted(step.of(type_url).values(), key=lambda one: hash((order, one.name)))
                for resource in resources:
                    model.take(resource)
                    now = answers(model)
                    wrong = {
                        call: now[call]
                        for call in CALLS
                        if (before := agreed[call]) == after[call] and before is not None and now[call] != before
                    }
                    assert wrong == {}, (way, resource.name)
                    for call in open_ones:
                        meant = agreed[call] if agreed[call] == after[call] else None
                        # Who showed an identity may come again without one where nobody is to show one any more.
                        if meant or (meant is False and (call.identity is None or not plain)):
                            assert model.passes(call, kept) is meant, (way, resource.name, call)
            has = step
        agreed = {call: after[call] if agreed[call] == after[call] else None for call in CALLS}
        if index == len(way) - 1:
            assert answers(model) == after


def answers(model: AccessModel) -> dict[Call, bool | None]:
    """Whether each of the calls passes."""
    return {call: model.passes(call) for call in CALLS}


@st.composite
def ways(draw: st.DrawFn, length: int) -> list[int]:
    """States one after another, each of which mostly changes some parts of the one before."""
    parts = (RULES, TOKENS, MODES)
    way = [tuple(draw(st.sampled_from(range(len(part)))) for part in parts)]
    for _ in range(length - 1):
        way.append(
            tuple(draw(st.just(old) | st.integers(0, len(part) - 1)) for old, part in zip(way[-1], parts, strict=True))
        )
    return [(rules * len(TOKENS) + tokens) * len(MODES) + mode for rules, tokens, mode in way]


@given(ways(2), st.integers(0, 99))
def test_what_both_ends_agree_on_holds_at_every_moment(way: list[int], order: int) -> None:
    """Whichever of the resources of a type is taken over first."""
    check(*way, order=order)


@given(ways(3), st.integers(0, 99))
def test_so_it_does_when_the_way_is_broken_off(way: list[int], order: int) -> None:
    """Then all three have to agree."""
    check(*way, order=order)


@pytest.mark.parametrize("identity", [None, account("client")])
def test_the_model_knows_right_from_wrong(identity: str | None) -> None:
    """A policy for the account lets in the one and refuses the other."""
    number = STATES.index(((allow(BY_CLIENT),), None, None))
    assert AccessModel(snapshot(number)).passes(Call(identity=identity)) is (identity is not None)
