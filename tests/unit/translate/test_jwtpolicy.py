"""A policy as a whole: what it requires, and that whatever is wrong with it leaves it without a requirement."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support import public_keys as pem

from meshpass.api.metadata import ObjectMeta
from meshpass.api.objectset import ObjectKey
from meshpass.api.security import (
    ClaimMatcher,
    ClaimToHeader,
    ClearRouteCache,
    JWTPolicy,
    JWTPolicyConfig,
    JWTPolicySpec,
    JWTProvider,
    Phase,
    PrioritizedPhase,
    TokenHeader,
    TokenSource,
    ValidationPolicy,
)
from meshpass.ir import Allow
from meshpass.ir import Phase as IrPhase
from meshpass.memo import Memo
from meshpass.translate.finding import Reason, Severity
from meshpass.translate.jwtpolicy import PolicyRules, translate_policy
from meshpass.translate.keyresolution import KeyText
from meshpass.translate.keysource import KeySource

KEY = ObjectKey("JWTPolicy", "cluster1", "httpbin", "policy")
GOOD = KeyText(text=pem.P_256)
SOURCE = KeySource("https://issuer.example/keys")
OCT = '{"kty":"oct","k":"' + "a" * 44 + '"}'


def translate(*keys: KeyText, problems: tuple[str, ...] = (), **config: Any) -> PolicyRules:
    """A policy with a provider for each of the keys, unless it says which."""
    keys = keys or (GOOD,)
    config.setdefault("providers", {f"p{index}": JWTProvider() for index in range(len(keys))})
    spec = JWTPolicySpec(config=JWTPolicyConfig(**config))
    policy = JWTPolicy(metadata=ObjectMeta(name="policy", namespace="httpbin"), spec=spec)
    return translate_policy(KEY, policy, problems, keys[: len(config["providers"])], Memo())


def reasons(rules: PolicyRules) -> list[tuple[Severity, Reason]]:
    return [(finding.severity, finding.reason) for finding in rules.findings]


def test_a_sound_policy_requires_any_of_its_providers() -> None:
    """And has nothing to say."""
    rules = translate(GOOD, KeyText(text=pem.ED25519))

    assert rules.requirement is not None
    assert rules.requirement.providers == tuple(provider.name for provider in rules.providers)
    assert len(rules.providers) == 2
    assert rules.requirement.allow is Allow.NOTHING
    assert (rules.findings, rules.failed) == ((), ())


@pytest.mark.parametrize(
    ("policy", "deprecated", "allow"),
    [
        (ValidationPolicy.REQUIRE_VALID, False, Allow.NOTHING),
        (ValidationPolicy.REQUIRE_VALID, True, Allow.MISSING_OR_FAILED),
        (ValidationPolicy.ALLOW_MISSING, False, Allow.MISSING),
        (ValidationPolicy.ALLOW_MISSING, True, Allow.MISSING),
        (ValidationPolicy.ALLOW_MISSING_OR_FAILED, False, Allow.MISSING_OR_FAILED),
    ],
)
def test_what_passes_without_a_token(policy: ValidationPolicy, deprecated: bool, allow: Allow) -> None:
    """The deprecated field widens REQUIRE_VALID alone."""
    rules = translate(validation_policy=policy, allow_missing_or_failed=deprecated)

    assert rules.requirement is not None
    assert rules.requirement.allow is allow


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (None, IrPhase.PRE_AUTHZ),
        (PrioritizedPhase(), IrPhase.PRE_AUTHZ),
        (PrioritizedPhase(pre_authz=Phase()), IrPhase.PRE_AUTHZ),
        (PrioritizedPhase(post_authz=Phase(priority=3)), IrPhase.POST_AUTHZ),
    ],
)
def test_phase(phase: PrioritizedPhase | None, expected: IrPhase) -> None:
    """The first one unless the second is named (decision 7)."""
    assert translate(phase=phase).phase is expected


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        pytest.param(translate(providers={}), Reason.PROVIDERS_MISSING, id="no-providers"),
        pytest.param(translate(problems=("spec.x: unknown field",)), Reason.INVALID, id="manifest"),
        pytest.param(translate(required_scopes=("a b",)), Reason.INVALID, id="scope"),
        pytest.param(translate(claims=(ClaimMatcher(key="a"),)), Reason.INVALID, id="claim"),
        pytest.param(translate(providers={"p": JWTProvider(audiences=("",))}), Reason.INVALID, id="provider"),
        pytest.param(translate(KeyText(problem="no Secret")), Reason.JWKS_SOURCE_MISSING, id="no-keys"),
        pytest.param(translate(KeyText(text="garbage")), Reason.INVALID_KEY, id="bad-key"),
        pytest.param(translate(KeyText(text=OCT)), Reason.INVALID_KEY, id="shared-key-in-the-open"),
        pytest.param(translate(GOOD, KeyText(text="garbage")), Reason.INVALID_KEY, id="one-bad-among-two"),
    ],
)
def test_whatever_is_wrong_denies(rules: PolicyRules, reason: Reason) -> None:
    """No requirement, no provider, nothing of it reaches a proxy: what it selects is denied (decision 5)."""
    assert (Severity.INVALID, reason) in reasons(rules)
    assert (rules.requirement, rules.providers, rules.payloads, rules.failed) == (None, (), (), ())


def test_findings_never_repeat_key_text() -> None:
    """A private key pasted by mistake must not end in a status."""
    rules = translate(KeyText(text="-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----"))

    assert rules.requirement is None
    assert "SECRET" not in repr(rules)


def test_a_key_set_that_has_not_come_yet_requires_what_nobody_has() -> None:
    """A provider without keys accepts no token; the status says why."""
    rules = translate(KeyText(source=SOURCE, problem="not fetched yet"))

    assert rules.sources == (SOURCE,)
    assert rules.requirement is not None
    assert [provider.jwks for provider in rules.providers] == [""]
    assert reasons(rules) == [(Severity.WARNING, Reason.JWKS_STALE)]


def test_an_old_key_set_is_used_with_a_warning() -> None:
    """Last known good is better than nobody."""
    rules = translate(KeyText(text=pem.P_256, source=SOURCE, problem="is old"))

    assert rules.providers[0].jwks
    assert reasons(rules) == [(Severity.WARNING, Reason.JWKS_STALE)]


def test_a_shared_key_of_a_secret_is_used_with_a_warning() -> None:
    """Decision 15."""
    rules = translate(KeyText(text=OCT, secret=True))

    assert rules.requirement is not None
    assert reasons(rules) == [(Severity.WARNING, Reason.SHARED_KEY)]


def test_an_appended_header_is_noted_and_an_overwritten_one_is_not() -> None:
    """The client's own value stays in the one (decision 12)."""
    copies = (
        ClaimToHeader(claim="a", header="x-a", append=True),
        ClaimToHeader(claim="b", header="x-b"),
    )
    (finding,) = translate(providers={"p": JWTProvider(claims_to_headers=copies)}).findings

    assert (finding.severity, finding.reason) == (Severity.NOTE, Reason.CLAIM_HEADER_SPOOFABLE)
    assert finding.path == "spec.config.providers[p].claimsToHeaders[0]"


@pytest.mark.parametrize(
    ("setting", "writes", "clears"),
    [
        (ClearRouteCache.AUTO, False, False),
        (ClearRouteCache.AUTO, True, True),
        (ClearRouteCache.TRUE, False, True),
        (ClearRouteCache.FALSE, True, False),
    ],
)
def test_when_the_route_is_chosen_again(setting: ClearRouteCache, writes: bool, clears: bool) -> None:
    """AUTO: when a header was written (decision 18); the payload's header is one."""
    provider = JWTProvider(output_payload_to_header="X-Payload" if writes else "")
    ((_, payload),) = translate(providers={"p": provider}, clear_route_cache=setting).payloads

    assert payload.clear_route_cache is clears
    assert payload.payload_header == ("x-payload" if writes else "")


def test_providers_whose_failed_tokens_pass_know_of_each_other() -> None:
    """What one refused another may have accepted: each tells all the places and all the names."""
    providers = {
        "a": JWTProvider(token_source=TokenSource(headers=(TokenHeader(name="X-A"),)), keep_token=True),
        "b": JWTProvider(token_source=TokenSource(headers=(TokenHeader(name="x-a"),), query_params=("t",))),
    }
    rules = translate(GOOD, GOOD, providers=providers, validation_policy=ValidationPolicy.ALLOW_MISSING_OR_FAILED)

    names = tuple(provider.name for provider in rules.providers)
    assert len({provider.lax_group for provider in rules.providers} - {""}) == 1
    assert [name for name, _ in rules.failed] == list(names)
    for _, token in rules.failed:
        assert token.alternatives == names
        assert [name[0] for name in token.keeping] == ["a"]
        assert (token.all_headers, token.all_query_parameters) == (("x-a",), ("t",))
    assert [token.query_parameters for _, token in rules.failed] == [(), ("t",)]


def test_a_provider_of_two_lax_policies_is_two_providers() -> None:
    """Each policy tidies up after itself alone; strict ones share."""
    lax = {"validation_policy": ValidationPolicy.ALLOW_MISSING_OR_FAILED}
    alone = translate(providers={"p": JWTProvider()}, **lax)
    beside = translate(GOOD, GOOD, providers={"p": JWTProvider(), "q": JWTProvider(issuer="q")}, **lax)
    strict = [translate(GOOD, providers={"p": JWTProvider()}).providers[0].name for _ in range(2)]

    assert alone.providers[0].name not in {provider.name for provider in beside.providers}
    assert strict[0] == strict[1]
