"""The filter that tidies up after verification: when it is there, and that its tables hold users' text as data only."""

from __future__ import annotations

import re
from types import MappingProxyType

import pytest
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation
from envoy.extensions.filters.http.lua.v3.lua_pb2 import Lua
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource

from meshpass.envoy.filters import Side, stripped_key
from meshpass.envoy.finish import build_finish_filter
from meshpass.envoy.snapshot import Resource
from meshpass.ir import FailedToken, ObjectRef, Phase, PhasePolicies

POLICY = ObjectRef(kind="JWTPolicy", cluster="cluster1", namespace="httpbin", name="policy")


def token(**fields: tuple[str, ...]) -> FailedToken:
    places = dict.fromkeys(("alternatives", "keeping", "headers", "query_parameters"), ())
    return FailedToken(**{**places, "all_headers": (), "all_query_parameters": (), **fields})


def build(policies: PhasePolicies) -> Resource:
    return build_finish_filter(Side.INBOUND, Phase.POST_AUTHZ, policies, frozenset({POLICY}))


def config(resource: Resource) -> TypedExtensionConfig:
    outer, found = DiscoveryResource(), TypedExtensionConfig()
    outer.ParseFromString(resource.wire)
    assert outer.resource.Unpack(found)
    assert found.name == "meshpass.inbound.post.finish"
    return found


def tables(policies: PhasePolicies) -> tuple[str, str]:
    """The right-hand sides of ``failed`` and ``rerouted``, with Lua's numbered bytes read as text."""
    message = Lua()
    assert config(build(policies)).typed_config.Unpack(message)
    lines = message.default_source_code.inline_string.splitlines()
    assert lines[0].startswith("local NAMESPACE = ")
    assert lines[2].startswith("local failed = ")
    assert lines[3].startswith("local rerouted = ")
    return tuple(_read(line.split(" = ", 1)[1]) for line in lines[2:4])  # type: ignore[return-value]


def _read(line: str) -> str:
    def text(found: re.Match[str]) -> str:
        return repr(bytes(int(digits) for digits in re.findall(r"\d{3}", found[1])).decode())

    return re.sub(r'"((?:\\\d{3})*)"', text, line)


def test_with_nothing_to_tidy_up_no_script_runs() -> None:
    """A script would cost every request; what does nothing belongs to no policy either."""
    resource = build(PhasePolicies())

    assert config(resource).typed_config.Is(HeaderMutation.DESCRIPTOR)
    assert resource.sources == frozenset()


def test_what_is_rerouted_is_a_set() -> None:
    """Sorted: equal policies make equal bytes."""
    resource = build(PhasePolicies(rerouted=frozenset({"b", "a"})))

    assert resource.sources == {POLICY}
    assert tables(PhasePolicies(rerouted=frozenset({"b", "a"}))) == ("{}", "{['a']=true,['b']=true}")


def test_a_failed_token_is_described_by_its_provider() -> None:
    """Where it was found, and who else may have accepted it."""
    described = token(
        alternatives=("one", "two"),
        keeping=("two",),
        headers=("x-auth",),
        query_parameters=("t",),
        all_headers=("x-auth", "authorization"),
        all_query_parameters=("t", "u"),
    )
    failed, rerouted = tables(PhasePolicies(failed=MappingProxyType({"one": described})))

    assert rerouted == "{}"
    assert failed == (
        "{['failed:one']={alternatives={'provider:one','provider:two'},keeping={'provider:two'},headers={'x-auth'},"
        "parameters={['t']=true},all_headers={'x-auth','authorization'},all_parameters={['t']=true,['u']=true}}}"
    )


def test_providers_are_in_the_order_of_their_names() -> None:
    """Whatever the order of the policies."""
    one = PhasePolicies(failed=MappingProxyType({"a": token(), "b": token()}))
    other = PhasePolicies(failed=MappingProxyType({"b": token(), "a": token()}))

    assert build(one).version == build(other).version


@pytest.mark.parametrize("hostile", ['"', "\\", "\n", "]]", '"}; os.exit() --', "\x00", "ä", "\u2028"])
def test_no_text_of_a_user_can_end_its_literal(hostile: str) -> None:
    """Every byte is its number."""
    message = Lua()
    policies = PhasePolicies(failed=MappingProxyType({"p": token(query_parameters=(hostile,))}))
    assert config(build(policies)).typed_config.Unpack(message)
    line = message.default_source_code.inline_string.splitlines()[2]

    assert re.sub(r'"(?:\\\d{3})*"', "_", line).isascii()
    assert "".join(f"\\{byte:03d}" for byte in hostile.encode()) in line
    assert set(re.sub(r'"(?:\\\d{3})*"', "", line)) <= set(
        "local failed = {}[],alternatives=keepingheadersparametersall_true"
    )


def test_what_is_taken_out_of_the_query_is_found_by_the_parameters_of_who_accepted() -> None:
    """Under what the JWT filter writes after the provider's name, with the names of the parameters."""
    message = Lua()
    policies = PhasePolicies(stripped=frozenset({("t", "u")}))
    assert config(build(policies)).typed_config.Unpack(message)

    line = message.default_source_code.inline_string.splitlines()[4]

    assert _read(line) == f"local stripped = {{['{stripped_key(('t', 'u'))}']={{['t']=true,['u']=true}}}}"


@pytest.mark.parametrize(
    ("one", "other"), [(("t", "u"), ("t&u",)), (("t", "u"), ("t\x00u",)), (("t",), ("t", "")), (("ä",), ("%C3%A4",))]
)
def test_nobody_names_the_parameters_of_another(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """Or a policy could have a token that another one verified stay in the query."""
    assert stripped_key(one) != stripped_key(other)


@pytest.mark.parametrize(("keeping", "found"), [((), True), (("one",), False)])
def test_a_token_that_nobody_was_asked_about_is_removed_too(keeping: tuple[str, ...], found: bool) -> None:
    """After a provider accepted another one, from wherever any provider looks; not where a provider keeps tokens."""
    described = token(keeping=keeping, headers=("x-one",), all_headers=("x-one", "x-two"))
    failed, _ = tables(PhasePolicies(failed=MappingProxyType({"one": described})))

    assert ("['provider:one']=" in failed) is found
    assert ("headers={'x-one','x-two'},parameters" in failed) is found
