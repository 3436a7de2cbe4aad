"""Bodies: reading what a client sends, within limits, as JSON, YAML or Kubernetes' protobuf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import yaml
from starlette.requests import ClientDisconnect, Request

from meshpass.apiserver import protobuf
from meshpass.apiserver.status import StatusError, bad_request, too_large, unsupported_media_type

BODY_LIMIT = 3 * 1024 * 1024
"""Bytes, as in kube-apiserver (``MaxRequestBodyBytes``)."""
_DEPTH_LIMIT = 128
"""Deeper than any object of ours, shallow enough for every recursive function that will walk the value."""
_JSON = "application/json"
_YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
ACCEPTED = (_JSON, "application/yaml", protobuf.MEDIA_TYPE)


def media_type(request: Request) -> str:
    """The Content-Type without parameters, JSON where there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() or _JSON


async def read_body(request: Request) -> bytes:
    """The whole body. Raises StatusError 413 as soon as it is longer than ``BODY_LIMIT``."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > BODY_LIMIT:
        raise too_large(BODY_LIMIT)
    received = bytearray()
    try:
        async for chunk in request.stream():
            received += chunk
            if len(received) > BODY_LIMIT:
                raise too_large(BODY_LIMIT)
    except ClientDisconnect as error:
        raise bad_request("the client went away before its body was complete") from error
    return bytes(received)


def parse_body(body: bytes, media: str) -> Any:
    """The value in a body. Raises StatusError: 400 for text that is none, 415 for another format."""
    if media in _YAML:
        return _parse_yaml(body)
    if media == protobuf.MEDIA_TYPE:
        value = protobuf.parse_protobuf(body)
        check_depth(value)  # managedFields are JSON inside of it
        return value
    if media != _JSON:
        raise unsupported_media_type(ACCEPTED)
    return parse_json(body)


def parse_json(body: bytes) -> Any:
    """Strict JSON of at most 128 levels. Raises StatusError 400."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"error decoding JSON: {error}") from error
    check_depth(value)
    return value


def parse_configuration(body: bytes) -> Any:
    """The value of an applied configuration: YAML, which clients mostly write as JSON. Raises StatusError 400."""
    if body.lstrip()[:1] == b"{":
        try:
            return parse_json(body)
        except StatusError:
            pass  # YAML has braces too
    return _parse_yaml(body)


def _parse_yaml(body: bytes) -> Any:
    loader = yaml.CSafeLoader(body)
    try:
        for event in _events(body):
            if isinstance(event, yaml.AliasEvent):
                # A few lines of aliases can stand for gigabytes.
                raise bad_request("error decoding YAML: aliases are not accepted")
        value = loader.get_single_data()
        # Dates and the like become what the same text would be in JSON.
        return parse_json(msgspec.json.encode(value))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from error
    finally:
        loader.dispose()


def _events(body: bytes) -> Iterator[yaml.Event]:
    depth = 0
    for event in yaml.parse(body, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEPTH_LIMIT:
                raise bad_request(f"the body is nested more than {_DEPTH_LIMIT} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        yield event


def check_depth(value: Any) -> None:
    """Raises StatusError 400 when a value is nested more than 128 levels deep."""
    level: list[Any] = [value]
    for _ in range(_DEPTH_LIMIT):
        inner = (parent.values() if isinstance(parent, dict) else parent for parent in level if _is_container(parent))
        level = [held for children in inner for held in children if _is_container(held)]
        if not level:
            return
    raise bad_request(f"the body is nested more than {_DEPTH_LIMIT} levels deep")


def _is_container(value: Any) -> bool:
    return isinstance(value, (dict, list))
