"""Rules for names, labels and keys (k8s.io/apimachinery ``util/validation``): each returns what is wrong, in its words."""

from __future__ import annotations

import re
from typing import Final

LABEL_MAX_LENGTH: Final = 63
SUBDOMAIN_MAX_LENGTH: Final = 253

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_ALPHANUMERIC_ENDS = "and must start and end with an alphanumeric character"
_LABEL_TEXT = (
    f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_ALPHANUMERIC_ENDS}"
)
_SUBDOMAIN_TEXT = f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', {_ALPHANUMERIC_ENDS}"
_DNS_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_QUALIFIED_TEXT = f"must consist of alphanumeric characters, '-', '_' or '.', {_ALPHANUMERIC_ENDS}"
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, "
    f"'-', '_' or '.', {_ALPHANUMERIC_ENDS}"
)
_CONFIG_KEY_TEXT = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"


def dns_label_faults(value: str) -> tuple[str, ...]:
    """RFC 1123 label: namespaces."""
    faults = _length_faults(value, LABEL_MAX_LENGTH)
    if re.fullmatch(_LABEL, value):
        return faults
    if re.fullmatch(_SUBDOMAIN, value):
        return (*faults, "must not contain dots")
    return (*faults, _regex_fault(_LABEL_TEXT, _LABEL, "my-name", "123-abc"))


def dns_subdomain_faults(value: str) -> tuple[str, ...]:
    """RFC 1123 subdomain: the names of most objects."""
    faults = _length_faults(value, SUBDOMAIN_MAX_LENGTH)
    if re.fullmatch(_SUBDOMAIN, value):
        return faults
    return (*faults, _regex_fault(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))


def dns_1035_faults(value: str) -> tuple[str, ...]:
    """RFC 1035 label, which starts with a letter: services, plurals, versions."""
    faults = _length_faults(value, LABEL_MAX_LENGTH)
    if re.fullmatch(_DNS_1035, value):
        return faults
    return (*faults, _regex_fault(_DNS_1035_TEXT, _DNS_1035, "my-name", "abc-123"))


def qualified_name_faults(value: str) -> tuple[str, ...]:
    """``[prefix/]name``: keys of labels and annotations, finalizers."""
    examples = ("MyName", "my.name", "123-abc")
    faults: tuple[str, ...] = ()
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        text = _regex_fault(f"a qualified name {_QUALIFIED_TEXT}", _QUALIFIED, *examples)
        return (f"{text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",)
    if slash and not prefix:
        faults += ("prefix part must be non-empty",)
    elif slash:
        faults += tuple(f"prefix part {fault}" for fault in dns_subdomain_faults(prefix))
    if not name:
        faults += ("name part must be non-empty",)
    elif len(name) > LABEL_MAX_LENGTH:
        faults += (f"name part {_length_faults(name, LABEL_MAX_LENGTH)[0]}",)
    if not re.fullmatch(_QUALIFIED, name):
        faults += (_regex_fault(f"name part {_QUALIFIED_TEXT}", _QUALIFIED, *examples),)
    return faults


def label_value_faults(value: str) -> tuple[str, ...]:
    """The value of a label, which may be empty."""
    faults = _length_faults(value, LABEL_MAX_LENGTH)
    if re.fullmatch(_LABEL_VALUE, value):
        return faults
    return (*faults, _regex_fault(_LABEL_VALUE_TEXT, _LABEL_VALUE, "MyValue", "my_value", "12345"))


def config_key_faults(value: str) -> tuple[str, ...]:
    """A key in the data of a ConfigMap or Secret, which becomes a file name."""
    faults = _length_faults(value, SUBDOMAIN_MAX_LENGTH)
    if not re.fullmatch(_CONFIG_KEY, value):
        faults += (_regex_fault(_CONFIG_KEY_TEXT, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"),)
    if value in {".", ".."}:
        faults += (f"must not be '{value}'",)
    elif value.startswith(".."):
        faults += ("must not start with '..'",)
    return faults


def port_name_faults(value: str) -> tuple[str, ...]:
    """An IANA service name (RFC 6335): a named ``targetPort``."""
    faults = _length_faults(value, 15)
    if not re.fullmatch("[-a-z0-9]+", value):
        faults += ("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",)
    if not re.search("[a-z]", value):
        faults += ("must contain at least one letter (a-z)",)
    if "--" in value:
        faults += ("must not contain consecutive hyphens",)
    if value.startswith("-") or value.endswith("-"):
        faults += ("must not begin or end with a hyphen",)
    return faults


def _length_faults(value: str, limit: int) -> tuple[str, ...]:
    return (f"must be no more than {limit} characters",) if len(value) > limit else ()


def _regex_fault(text: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"
