"""Access log entries become records, whatever is in them."""

from __future__ import annotations

import msgspec
import pytest
from envoy.data.accesslog.v3.accesslog_pb2 import TCPAccessLogEntry
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from meshpass.audit.entry import MAX_FAILURES, MAX_NAME, MAX_PATH, MAX_REASON, parse_entry
from meshpass.audit.record import DecisionRecord, Failure, Verdict
from meshpass.envoy.access import RBAC_METADATA, TRIAL_RESULT
from meshpass.envoy.access_log import DECISION_TAG
from meshpass.envoy.filters import JWT_METADATA, Side

NODE = "sidecar~cluster1~httpbin~client"
CLASS = "0123456789abcdef"
POLICY = "cluster1/httpbin/policy"
HEADER = {"alg": "RS256", "kid": "k1"}
PAYLOAD = {"iss": "https://issuer", "sub": "alice", "email": "alice@example.com"}


def entry(decision: str, metadata: dict | None = None) -> TCPAccessLogEntry:
    made = TCPAccessLogEntry()
    common = made.common_properties
    common.start_time.seconds, common.start_time.nanos = 1_700_000_000, 500_000_000
    common.duration.nanos = 2_000_000
    common.route_name = "route-0123"
    common.custom_tags[DECISION_TAG] = decision
    if metadata is not None:
        common.metadata.filter_metadata[JWT_METADATA].update(metadata)
    return made


def decision(
    status: str = "200", details: str = "via_upstream", path: str = "/get", selection_class: str = CLASS
) -> str:
    return f"{selection_class}\nGET\nwww.example.com\n{path}\n{status}\n{details}"


def parse(made: TCPAccessLogEntry) -> DecisionRecord:
    return parse_entry(
        NODE,
        Side.OUTBOUND,
        made,
        policy_of=lambda one: POLICY if one == CLASS else "",
        hash_subject=lambda issuer, subject: f"hash of {issuer} {subject}",
    )


def test_what_a_provider_takes_out_of_the_query_is_no_part_of_its_name():
    """The JWT filter writes a hash of it after the name."""
    found = parse(entry(decision(), {"payload-1": PAYLOAD, "provider:dev-0123?4567": HEADER}))
    assert found.provider == "dev-0123"


def test_a_verified_request():
    """The record names policy, provider, key and subject; no claim but the hashed ones is in it."""
    record = parse(entry(decision(), {"payload-1": PAYLOAD, "provider:p1": HEADER}))

    assert record == DecisionRecord(
        time=1_700_000_000.5,
        duration=0.002,
        proxy=NODE,
        side=Side.OUTBOUND,
        method="GET",
        host="www.example.com",
        path="/get",
        route="route-0123",
        selection_class=CLASS,
        policy=POLICY,
        provider="p1",
        kid="k1",
        subject_hash="hash of https://issuer alice",
        verdict=Verdict.ALLOWED,
        status=200,
        reason="",
    )
    assert b"alice@example.com" not in msgspec.json.encode(record)


@pytest.mark.parametrize(
    ("status", "details", "verdict", "reason"),
    [
        ("401", "jwt_authn_access_denied{Jwt_is_missing}", Verdict.DENIED, "Jwt is missing"),
        ("401", "jwt_authn_access_denied{Jwt_is_expired}", Verdict.DENIED, "Jwt is expired"),
        ("403", "jwt_authn_access_denied{Audiences_in_Jwt_are_not_allowed}", Verdict.DENIED, "Audiences in Jwt are not allowed"),
        ("403", "jwt_authn_access_denied{Failed_JWT_authentication:_Wrong_requirement_name:_x._It_should_be_one_of_[a,_b]}", Verdict.DENIED, "Failed JWT authentication"),
        ("403", "rbac_access_denied_matched_policy[denied]", Verdict.DENIED, "RBAC: access denied"),
        ("403", "rbac_access_denied_matched_policy[none]", Verdict.DENIED, "RBAC: access denied"),
        ("401", "via_upstream", Verdict.ALLOWED, ""),
        ("403", "via_upstream", Verdict.ALLOWED, ""),
        ("403", "direct_response", Verdict.ALLOWED, ""),
        ("503", "no_healthy_upstream", Verdict.ALLOWED, ""),
        ("0", "downstream_remote_disconnect", Verdict.ALLOWED, ""),
    ],
)  # fmt: skip
def test_only_the_filters_deny(status, details, verdict, reason):
    """An answer of the application is no denial of ours, whatever its status."""
    record = parse(entry(decision(status, details)))

    assert (record.verdict, record.reason) == (verdict, reason)
    assert record.status == (int(status) if status != "0" else 0)


@pytest.mark.parametrize("selection_class", ["another", "", "-"])
def test_open(selection_class):
    """Without a policy nothing was asked, so nothing was allowed either."""
    assert parse(entry(decision(selection_class=selection_class))).verdict is Verdict.OPEN


def test_a_denial_without_a_policy_is_a_denial():
    """The policy may be gone when the record comes; the denial was all the same."""
    record = parse(entry(decision("401", "jwt_authn_access_denied{Jwt_is_missing}", selection_class="gone")))

    assert (record.verdict, record.policy) == (Verdict.DENIED, "")


def test_a_failed_token_that_was_let_pass():
    """Under a lax policy the record says why the token failed, and whose it would have been."""
    record = parse(entry(decision(), {"failed:p1": {"code": 3, "message": "Jwt is expired"}}))

    assert (record.verdict, record.reason, record.provider) == (Verdict.ALLOWED, "Jwt is expired", "p1")
    assert record.failures == (Failure(provider="p1", reason="Jwt is expired"),)
    assert record.unknown_key_providers == ()


def test_a_missing_token_is_no_failure():
    """Envoy says it of every provider; no provider refused anything."""
    record = parse(entry(decision(), {"failed:p1": {"message": "Jwt is missing"}}))

    assert (record.verdict, record.reason, record.provider) == (Verdict.ALLOWED, "Jwt is missing", "")
    assert record.failures == ()


@pytest.mark.parametrize(
    ("said", "trial"), [("denied", "denied"), ("allowed", "allowed"), ("", ""), ("anything", ""), (None, "")]
)
def test_what_a_dry_run_would_have_done(said, trial):
    """Two words of Envoy's and no others; the verdict is what was enforced."""
    made = entry(decision())
    if said is not None:
        made.common_properties.metadata.filter_metadata[RBAC_METADATA].update({TRIAL_RESULT: said})
    record = parse(made)

    assert (record.verdict, record.trial) == (Verdict.ALLOWED, trial)


def test_one_of_several_providers_verified():
    """What the others said of the token is no reason for anything; they are listed."""
    metadata = {"failed:a": {"message": "Jwt issuer is not configured"}, "provider:b": HEADER, "payload-1": PAYLOAD}
    record = parse(entry(decision(), metadata))

    assert (record.verdict, record.reason, record.provider) == (Verdict.ALLOWED, "", "b")
    assert record.failures == (Failure(provider="a", reason="Jwt issuer is not configured"),)


def test_unknown_keys_of_several_providers():
    """Only providers whose keys may be out of date are named; which one refused the token is then not known."""
    record = parse(
        entry(
            decision("401", "jwt_authn_access_denied{Jwt_issuer_is_not_configured}"),
            {
                "failed:b": {"message": "Jwks doesn't have key to match kid or alg from Jwt"},
                "failed:a": {"message": "Jwt issuer is not configured"},
                "failed:c": {"message": "Jwt verification fails"},
            },
        )
    )

    assert record.unknown_key_providers == ("b", "c")
    assert record.provider == ""


def test_two_verified_tokens_name_the_same_one_every_time():
    """A map has no order; the record does."""
    metadata = {"payload-2": {**PAYLOAD, "sub": "bob"}, "provider:p2": {"kid": "k2"}}
    first = {"payload-1": PAYLOAD, "provider:p1": HEADER}

    assert parse(entry(decision(), {**metadata, **first})) == parse(entry(decision(), {**first, **metadata}))


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/get?auth_token=secret", "/get"),
        ("/get#auth_token=secret", "/get"),
        ("/get#a?b", "/get"),
        ("?x", ""),
        ("/a\x1b[31mb", "/a�[31mb"),
    ],
)
def test_paths_have_no_query(path, kept):
    """The proxy sends none; should one come all the same, it goes no further."""
    assert parse(entry(decision(path=path))).path == kept


@pytest.mark.parametrize("tag", ["", "GET", "\n" * 4, "\n" * 6, "a\nb\nc\nd\ne\nf\ng"])
def test_a_tag_of_another_form(tag):
    """Nothing is guessed."""
    record = parse(entry(tag))

    assert (record.method, record.host, record.path, record.status, record.verdict) == ("", "", "", 0, Verdict.OPEN)


def test_reading_does_not_add_to_the_entry():
    """Looking for a key in a map field of protobuf would make it."""
    made = TCPAccessLogEntry()
    parse(made)

    assert made == TCPAccessLogEntry()


def fill(text: str) -> dict:
    return {
        **{f"failed:{number}{text}": {"message": text} for number in range(20)},
        f"provider:{text}": {"kid": text},
        text: {"iss": text, "sub": text},
    }


def assert_bounded(record: DecisionRecord) -> None:
    for text in (record.method, record.host, record.route, record.provider, record.kid, record.policy):
        assert len(text) <= MAX_NAME
    assert len(record.path) <= MAX_PATH + 8
    assert len(record.reason) <= MAX_REASON + 8
    assert len(record.failures) <= MAX_FAILURES
    assert record.time >= 0
    assert msgspec.json.decode(msgspec.json.encode(record), type=DecisionRecord) == record


@pytest.mark.parametrize("text", ["x" * 100_000, "aB3" * 50_000, "é\x00" * 5000, "eyJ" * 40_000])
def test_every_field_is_bounded(text):
    """However long what came."""
    made = entry("\n".join((text,) * 6), fill(text))
    made.common_properties.route_name = text
    record = parse(made)

    assert_bounded(record)
    assert record.size < 10_000


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["provider:", "failed:", "payload", ""]).flatmap(
    lambda p: st.text(max_size=8).map(lambda t: p + t)
)
LINES = st.lists(
    st.text(max_size=40) | st.sampled_from(["401", "²", "jwt_authn_access_denied{", "rbac_access_denied", "-", CLASS]),
    max_size=8,
)


@given(
    lines=LINES,
    metadata=st.dictionaries(KEYS, VALUES, max_size=4),
    seconds=st.integers(-(2**63), 2**63 - 1),
    nanos=st.integers(-(2**31), 2**31 - 1),
)
def test_every_entry_makes_a_record(lines, metadata, seconds, nanos):
    """Parsing is total, and what comes out can be written and read again."""
    made = entry("\n".join(lines))
    made.common_properties.start_time.seconds = seconds
    made.common_properties.duration.nanos = nanos
    struct = Struct()
    struct.update(metadata)
    made.common_properties.metadata.filter_metadata[JWT_METADATA].CopyFrom(struct)

    record = parse(made)

    assert_bounded(record)
    assert "?" not in record.path


@given(st.binary(max_size=200))
def test_arbitrary_bytes(content):
    """What protobuf takes for an entry makes a record."""
    try:
        made = TCPAccessLogEntry.FromString(content)
    except DecodeError:
        return
    assert_bounded(parse(made))
