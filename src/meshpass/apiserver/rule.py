"""Rule: one entry of ``x-kubernetes-validations``, checked against the type of its values, and evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from cel_expr_python import cel

from meshpass.apiserver.rulelibrary import checked_extensions, evaluated_extensions
from meshpass.apiserver.ruletypes import RuleType

_OLD: Final = "oldSelf"
_HELD: Final = "__held"
"""Under this name an optional old value comes in: a list, since a value from outside cannot be optional itself."""
_OPTIONAL_CHECKED: Final = f"cel.bind({_OLD}, optional.of({_HELD}),\n%s\n)"
_OPTIONAL_EVALUATED: Final = f"cel.bind({_OLD}, size({_HELD}) > 0 ? optional.of({_HELD}[0]) : optional.none(),\n%s\n)"
_LINE: Final = re.compile(r"<input>:(\d+):")
_WORDS: Final = (
    (re.compile(r"Key not found in map : \"?(.*?)\"?"), r"no such key: \1"),
    (re.compile(r"No matching overloads found : (.*)"), "no such overload"),
    (re.compile(r"Applying SELECT to non-message type"), "no such overload"),
    (re.compile(r"Index error: index=(-?\d+) size=\d+"), r"index out of bounds: \1"),
    (re.compile(r"divide by zero"), "division by zero"),
    # Half of a surrogate pair, which JSON can say and UTF-8 cannot.
    (re.compile(r"basic_string: .*"), "invalid UTF-8 in string"),
    (re.compile(r"Iteration budget exceeded"), "operation cancelled: actual cost limit exceeded"),
)
"""What the library says of an evaluation that failed, and what Kubernetes' does."""


class RuleSyntaxError(Exception):
    """An expression that does not compile, or is of another type than is asked for; the message is Kubernetes' own."""


class EvaluationError(Exception):
    """An evaluation without a result, such as one of a missing field; the message is Kubernetes' own."""


class BudgetError(EvaluationError):
    """An evaluation that took more steps than any may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition, ready to be evaluated."""

    text: str
    message: str
    """Empty where the definition names none."""
    reason: str
    field_path: str
    """What is added to the path of the value to name the field that is wrong, such as ``.a.b``."""
    uses_old: bool
    optional_old: bool
    program: Any
    message_program: Any

    @classmethod
    def compiled(cls, declared: Mapping[str, Any], path: str) -> Rule:
        """A rule of a definition that has been checked. Raises RuleSyntaxError."""
        text, message = declared.get("rule") or "", declared.get("messageExpression") or ""
        optional = bool(declared.get("optionalOldSelf"))
        return cls(
            text=text.strip(),
            message=(declared.get("message") or "").strip(),
            reason=declared.get("reason") or "",
            field_path=path,
            uses_old=uses_old(text),
            optional_old=optional,
            program=_compile(_evaluation(), _OPTIONAL_EVALUATED % text if optional else text),
            message_program=_compile(_evaluation(), _OPTIONAL_EVALUATED % message if optional else message)
            if message.strip()
            else None,
        )

    @property
    def name(self) -> str:
        """What errors call the rule: its message, or its text."""
        return self.message or self.text

    def holds(self, values: cel.Activation) -> bool:
        """Whether the condition is true of ``bindings(…)``. Raises EvaluationError."""
        return _evaluate(self.program, values) is True

    def words(self, values: cel.Activation) -> str:
        """What the user is told where it is not: by expression, else as declared, else the rule's text."""
        declared = self.message or f"failed rule: {self.text}"
        if self.message_program is None:
            return declared
        try:
            said = _evaluate(self.message_program, values)
        except EvaluationError:
            return declared
        text = said.strip() if isinstance(said, str) else ""
        return text if text and "\n" not in text and len(text) <= _LONGEST_MESSAGE else declared


_LONGEST_MESSAGE: Final = 5 * 1024
_ABSENT: Final = object()


def bindings(value: Any, old: Any = _ABSENT) -> cel.Activation:
    """What expressions see of a value, and of the one before it where there is one; good for all rules of a node."""
    if old is _ABSENT:
        return _evaluation().Activation({"self": value, _HELD: []})
    return _evaluation().Activation({"self": value, _OLD: old, _HELD: [old]})


def uses_old(text: str) -> bool:
    """True if the expression is of a change, and so is judged only where there was a value before."""
    if _OLD not in text:
        return False
    try:
        _compile(_without_old(), text)
    except RuleSyntaxError as error:
        return f"undeclared reference to '{_OLD}" in str(error)
    return False


class Checker:
    """Checks expressions of values of one type, without a value."""

    def __init__(self, self_type: RuleType) -> None:
        self._type = self_type
        self._environments: dict[bool, cel.Env] = {}

    def check(self, text: str, *, result: str, optional_old: bool) -> bytes:
        """The checked expression, serialised (``cel.expr.CheckedExpr``).

        Raises RuleSyntaxError unless it is sound for such values and its result is ``bool`` or ``string``.
        """
        try:
            program = _compile(self._environment(optional_old), _OPTIONAL_CHECKED % text if optional_old else text)
        except RuleSyntaxError as error:
            shift = int(optional_old)  # what is put around the expression has a line of its own before it
            raise RuleSyntaxError(_LINE.sub(lambda found: f"<input>:{int(found[1]) - shift}:", str(error))) from None
        # A value of any type is one of the right type as far as a check can tell.
        if program.return_type().name().lower() not in {result, "dyn"}:
            raise RuleSyntaxError(f"must evaluate to a {result}")
        serialised: bytes = program.serialize()
        return serialised

    def _environment(self, optional_old: bool) -> cel.Env:
        if optional_old not in self._environments:
            variables = {"self": self._type.type, _HELD if optional_old else _OLD: self._type.type}
            made = cel.NewEnv(self._type.pool, variables=variables, extensions=checked_extensions())
            self._environments[optional_old] = made
        return self._environments[optional_old]


@cache
def _evaluation() -> cel.Env:
    variables = {"self": cel.Type.DYN, _OLD: cel.Type.DYN, _HELD: cel.Type.LIST}
    return cel.NewEnv(variables=variables, extensions=evaluated_extensions())


@cache
def _without_old() -> cel.Env:
    return cel.NewEnv(variables={"self": cel.Type.DYN}, extensions=evaluated_extensions())


def _compile(environment: cel.Env, text: str) -> Any:
    try:
        return environment.compile(text)
    except (RuntimeError, ValueError) as error:
        words = re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", str(error))
        words = re.sub(r"(undefined field '.*?') not found in struct '.*?'", r"\1", words)
        raise RuleSyntaxError(f"compilation failed: {words}") from None


def _evaluate(program: Any, values: cel.Activation) -> Any:
    try:
        found = program.eval(values)
    except RuntimeError as error:
        failure = str(error)
    else:
        if found.type() != cel.Type.ERROR:
            return found.value()
        failure = str(found.value())
    words = re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", failure)
    for pattern, kubernetes in _WORDS:
        if found_words := pattern.fullmatch(words):
            words = found_words.expand(kubernetes)
            break
    if words.startswith("operation cancelled"):
        raise BudgetError(words)
    raise EvaluationError(words)
