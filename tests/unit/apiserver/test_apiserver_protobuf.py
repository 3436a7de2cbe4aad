"""Kubernetes' protobuf bodies: read whole or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.apiserver.protobuf import parse_protobuf
from meshpass.apiserver.protobuffields import MESSAGES, ROOTS
from meshpass.apiserver.status import StatusError

_SCALARS = {"json", "string", "bytes", "int", "bool", "time", "microtime", "intorstring", "quantity"}


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def envelope(version: str, kind: str, body: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, version) + field(2, kind)) + field(2, body)


def test_what_kubectl_1_32_sends_for_create_namespace():
    """Bytes as they were seen on the wire: empty fields, metadata with an empty creationTimestamp."""
    sent = bytes.fromhex(
        "6b3873000a0f0a02763112094e616d657370616365121b0a130a03666f6f12001a0022002a0032003800420012001a020a001a002200"
    )

    assert parse_protobuf(sent) == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foo"}}


def test_maps_bytes_numbers_and_times():
    """Each scalar in its JSON form; an optional zero stays, an empty required one goes."""
    metadata = (
        field(1, "s") + field(8, field(1, 1_767_225_600)) + field(11, field(1, "k") + field(2, "v")) + field(7, -1)
    )
    secret = field(1, metadata) + field(2, field(1, "key") + field(2, b"\x00\xff")) + field(3, "") + field(5, 0)

    assert parse_protobuf(envelope("v1", "Secret", secret)) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"k": "v"}, "generation": -1},
        "data": {"key": "AP8="},
        "immutable": False,
    }


def test_ports_by_number_and_by_name():
    """IntOrString is a number or a text."""
    ports = b"".join(
        field(1, field(3, 80) + field(4, target))
        for target in (field(1, 0) + field(2, 8080) + field(3, ""), field(1, 1) + field(2, 0) + field(3, "web"))
    )
    spec = parse_protobuf(envelope("v1", "Service", field(2, ports)))["spec"]

    assert [port["targetPort"] for port in spec["ports"]] == [8080, "web"]


def test_managed_fields_come_back_from_typed_clients():
    """A client that reads, changes and writes an object sends whose its fields are, as it read it."""
    entry = (
        field(1, "one") + field(2, "Apply") + field(3, "v1") + field(4, field(1, 1_767_225_600) + field(2, 0))
        + field(6, "FieldsV1") + field(7, field(1, '{"f:data":{"f:a":{}}}')) + field(8, "")
    )  # fmt: skip
    sent = parse_protobuf(envelope("v1", "ConfigMap", field(1, field(1, "a") + field(17, entry))))

    assert sent["metadata"]["managedFields"] == [
        {
            "manager": "one",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}}},
        }
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{}", 400),
        (b"k8s\x00\x0a\xff", 400),
        (envelope("v1", "ConfigMap", field(99, "x")), 415),
        (envelope("v1", "ConfigMap", field(1, field(16, b""))), 415),
        (envelope("v1", "ConfigMap", field(1, field(17, field(7, field(1, "{"))))), 400),
        (envelope("v1", "ConfigMap", field(1, field(17, field(7, field(1, "[" * 100_000))))), 400),
        (envelope("v1", "Pod", b""), 415),
        (envelope("v1", "ConfigMap", field(1, 7)), 400),
        (envelope("v1", "ConfigMap", field(1, field(1, b"\xff"))), 400),
        (envelope("v1", "ConfigMap", b"\x0d\x00\x00\x00\x00"), 400),
        (envelope("v1", "ConfigMap", field(1, field(8, field(1, 1 << 62)))), 400),
    ],
)
def test_what_is_not_known_is_refused_not_dropped(body: bytes, code: int):
    """400 for broken bytes, 415 for fields and kinds without an entry in the tables."""
    with pytest.raises(StatusError) as failure:
        parse_protobuf(body)

    assert failure.value.code == code


@given(st.binary(max_size=200), st.sampled_from(sorted(ROOTS)))
def test_any_bytes_are_an_object_or_refused(body: bytes, root: tuple[str, str]):
    """A hostile body raises nothing else."""
    for sent in (b"k8s\x00" + body, envelope(*root, body)):
        try:
            value = parse_protobuf(sent)
        except StatusError as failure:
            code = failure.code
        else:
            code = 200
            assert isinstance(value, dict)
        assert code in {200, 400, 415}


def test_the_tables_refer_to_messages_that_there_are():
    """Every type is a scalar or described; every description is reachable."""
    named = {field_type.name for fields in MESSAGES.values() for _, field_type in fields.values()}

    assert named - _SCALARS <= set(MESSAGES)
    assert set(MESSAGES) == (named - _SCALARS) | set(ROOTS.values())
