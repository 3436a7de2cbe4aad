"""The channel protocol of remote commands, without IO."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.apiserver.channel import (
    Channel,
    ChannelError,
    ChannelProtocol,
    ChannelReader,
    Input,
    InputClosed,
    TerminalSize,
    choose_protocol,
    write_exit,
    write_message,
    write_status,
)

V4, V5 = ChannelProtocol.V4, ChannelProtocol.V5
SIZES = st.builds(TerminalSize, width=st.integers(0, 65535), height=st.integers(0, 65535))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, some perhaps empty."""
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def test_the_clients_order_decides():
    """The first protocol that is known; none where none is."""
    assert choose_protocol(["v9.channel.k8s.io", "v5.channel.k8s.io", "v4.channel.k8s.io"]) is V5
    assert choose_protocol(["v4.channel.k8s.io", "v5.channel.k8s.io"]) is V4
    assert choose_protocol(["channel.k8s.io", "base64.channel.k8s.io"]) is None
    assert choose_protocol([]) is None


def test_input_ends_in_the_fifth_version_alone():
    """In the fourth the message means nothing, since no such channel is known there."""
    assert ChannelReader(V5).receive(b"\xff\x00") == (InputClosed(),)
    assert ChannelReader(V4).receive(b"\xff\x00") == ()


def test_after_its_end_there_is_no_input():
    """And it ends once."""
    reader = ChannelReader(V5)
    assert reader.receive(b"\x00a") == (Input(b"a"),)
    reader.receive(b"\xff\x00")
    assert reader.receive(b"\x00b") == ()
    assert reader.receive(b"\xff\x00") == ()


@pytest.mark.parametrize(
    "message", [b"", b"\x00", b"\x01x", b"\x02x", b"\x03x", b"\x05x", b"\xfex", b"\xff", b"\xff\x01"]
)
def test_what_means_nothing_is_passed_over(message):
    """Empty messages, channels that are the server's, unknown ones, ends of others than input."""
    assert ChannelReader(V5).receive(message) == ()


@pytest.mark.parametrize(
    "text", [b"{}", b"}", b'{"Width":80}', b'{"Width":-1,"Height":2}', b'{"Width":65536,"Height":2}', b"\xff}", b"[1]}"]
)
def test_no_size_is_an_error(text):
    """Said to the client, and the session ends."""
    with pytest.raises(ChannelError):
        ChannelReader(V5).receive(b"\x04" + text)


def test_a_size_without_an_end_is_an_error():
    """Before much of it is kept."""
    reader = ChannelReader(V5)
    for _ in range(5):
        reader.receive(b"\x04" + b" " * 200)
    with pytest.raises(ChannelError):
        reader.receive(b"\x04" + b" " * 200)


@given(st.binary(max_size=300), st.lists(SIZES, max_size=5), st.lists(st.integers(0, 400), max_size=8), st.data())
def test_how_streams_are_cut_means_nothing(data, sizes, places, draw):
    """Whatever the pieces of both streams, and however they are mixed, each stream is what was sent."""
    shown = b"".join(
        b'{"Width":%d,"Height":%d}%b' % (size.width, size.height, draw.draw(st.sampled_from([b"", b"\n"])))
        for size in sizes
    )
    inputs = [write_message(Channel.INPUT, piece) for piece in cut(data, places)]
    resizes = [write_message(Channel.RESIZE, piece) for piece in cut(shown, places)]
    reader = ChannelReader(V5)
    events = []
    while inputs or resizes:
        source = draw.draw(st.sampled_from([one for one in (inputs, resizes) if one]))
        events += reader.receive(source.pop(0))

    assert b"".join(event.data for event in events if isinstance(event, Input)) == data
    assert [event for event in events if isinstance(event, TerminalSize)] == sizes


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_no_message_does_harm(messages):
    """Any bytes are events, nothing, or a ChannelError."""
    reader = ChannelReader(V5)
    for message in messages:
        try:
            events = reader.receive(message)
        except ChannelError:
            return
        assert all(isinstance(event, Input | InputClosed | TerminalSize) for event in events)


def test_how_a_command_ended():
    """As kubectl reads it: success, or a cause with the code."""
    success, failure = write_exit(0), write_exit(42)
    assert success[0] == failure[0] == Channel.STATUS
    assert json.loads(success[1:])["status"] == "Success"
    status = json.loads(failure[1:])
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"] == {"causes": [{"reason": "ExitCode", "message": "42"}]}
    assert json.loads(write_status({"status": "Failure"})[1:]) == {"status": "Failure"}
