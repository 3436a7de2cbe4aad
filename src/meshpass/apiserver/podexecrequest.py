"""What a request for ``exec`` asks for: the query of its URL, as Kubernetes' ``PodExecOptions`` has it."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import QueryParams

from meshpass.apiserver.podruntime import CommandRequest
from meshpass.apiserver.status import bad_request

_MOST_WORDS: Final = 1024


def parse_command_request(query: QueryParams) -> CommandRequest:
    """The program and the streams that are wanted. Raises StatusError 400."""
    command = tuple(query.getlist("command"))
    if not command or not command[0]:
        raise bad_request("you must specify a command for the container")
    if len(command) > _MOST_WORDS or any("\0" in word for word in command):
        raise bad_request(f"a command has at most {_MOST_WORDS} words, and no word has a zero byte")
    tty = parse_flag(query, "tty")
    request = CommandRequest(
        command=command,
        stdin=parse_flag(query, "stdin"),
        stdout=parse_flag(query, "stdout"),
        # A terminal mixes both outputs, and what it shows is one stream.
        stderr=parse_flag(query, "stderr") and not tty,
        tty=tty,
    )
    if not (request.stdin or request.stdout or request.stderr):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return request


def parse_flag(query: QueryParams, name: str) -> bool:
    """True where the query names it, unless as ``false`` or ``0`` (apimachinery's reading of a query's booleans)."""
    value = query.get(name)
    return value is not None and value.lower() not in {"false", "0"}
