"""AccessRules: who may call a port, and what of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern for a whole text: its parts in order, with anything between two of them.

    One part is the text itself; an empty first part lets it begin with anything, an empty last one end so.
    """

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderCondition:
    """A request header that is like any of ``values`` (if there are any), and like none of ``not_values``.

    Of several lines one may be like a value. None may be like what is refused, and no part between commas either.
    """

    name: str
    """In lower case."""
    values: tuple[Glob, ...] = ()
    not_values: tuple[Glob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCaller:
    """Who a verified token says the caller is: its issuer and its subject, with a slash between them.

    Any of ``principals`` (if there are any), none of ``not_principals``. A request without a token is nobody.
    """

    principals: tuple[Glob, ...] = ()
    not_principals: tuple[Glob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Some callers: all for which every part holds."""

    identities: tuple[str, ...] | None = None
    """SPIFFE IDs, one of which the caller's certificate must have; one that ends in ``/`` is the beginning of them. Empty:
    nobody. None: it is not asked for."""
    token: TokenCaller | None = None
    """None: it is not asked for."""


EVERYBODY = Caller()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """Requests that are allowed: those for which every part holds that says something."""

    callers: tuple[Caller, ...]
    """Any of these. Empty: nobody."""
    paths: tuple[Glob, ...] = ()
    """Of the request, without its query."""
    methods: tuple[str, ...] = ()
    headers: tuple[HeaderCondition, ...] = ()
    peer_blocks: tuple[str, ...] = ()
    """Addresses that the connection may come from, as CIDR blocks."""
    client_blocks: tuple[str, ...] = ()
    """Addresses that the request may have come from in the first place (``x-forwarded-for``), as CIDR blocks."""

    @property
    def asks_for_token(self) -> bool:
        """True when it depends on a token who is allowed."""
        return any(caller.token is not None for caller in self.callers)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRules:
    """What holds on one port: what no rule allows is refused with 403."""

    rules: tuple[AccessRule, ...] | None
    """Empty: nothing is allowed. None: everything is."""
    trial: tuple[AccessRule, ...] | None = None
    """Rules that refuse nothing: what they would do is counted. None: there are none."""
    payload_keys: tuple[str, ...] = ()
    """Where tokens are that were verified before; sorted."""
    grpc: bool = False
    """True: it speaks gRPC, whose requests are all POST, so rules about methods are not for them."""
    also: tuple[AccessRules, ...] = ()
    """What has to allow it as well."""

    @property
    def identities(self) -> tuple[str, ...] | None:
        """Who may call at all, as in ``Caller``; None where some rule does not ask for it."""
        callers = [caller for rule in self.rules or () for caller in rule.callers]
        if self.rules is None or any(caller.identities is None for caller in callers):
            return None
        return tuple(sorted({name for caller in callers for name in caller.identities or ()}))

    @property
    def peer_blocks(self) -> tuple[str, ...]:
        """From where connections may come at all; empty: some rule does not ask for it."""
        rules = [rule for rule in self.rules or () if rule.callers]
        if not all(rule.peer_blocks for rule in rules):
            return ()
        return tuple(sorted({block for rule in rules for block in rule.peer_blocks}))
