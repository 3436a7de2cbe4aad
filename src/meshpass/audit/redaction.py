"""Redaction: text of a request, without what may be a token in it."""

from __future__ import annotations

import re

MASK = "[redacted]"
_SHORTEST_JWT = len("eyJ")
_SHORTEST = 20
"""Fewer characters of a token cannot be told from a name."""
_SHORTEST_WITHOUT_DIGIT = 40
_WORD = "[A-Za-z0-9_+-]"
_TOKEN = re.compile(
    # The header of a compact JWT is base64url of `{"`; whatever follows up to the next `/` goes with it.
    r"eyJ[A-Za-z0-9_.%=~+-]*"
    # Any other part of one, or another kind of token: base64 of random bytes has small letters, capitals and digits.
    rf"|(?<!{_WORD})(?={_WORD}*[A-Z])(?={_WORD}*[a-z])"
    rf"(?:{_WORD}{{{_SHORTEST_WITHOUT_DIGIT},}}|(?={_WORD}*[0-9]){_WORD}{{{_SHORTEST},}})"
)


def redact(text: str) -> str:
    """``text`` with a mask in place of everything that looks like a token, and without characters that cannot be printed.

    Masked are JWTs, and words of 20 characters or more that mix small letters, capitals and digits (of 40 or more:
    letters alone). UUIDs, hashes in hex, and names in the style of Kubernetes or of a program stay.
    """
    if len(text) >= _SHORTEST_JWT:
        text = _TOKEN.sub(MASK, text)
    if not text.isprintable():
        text = "".join(character if character.isprintable() else "�" for character in text)
    return text
