"""PhasePolicies → the configuration of the filter that tidies up after verification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation
from envoy.extensions.filters.http.lua.v3.lua_pb2 import Lua

from meshpass.envoy.filters import (
    FAILED_KEY,
    JWT_METADATA,
    PROVIDER_KEY,
    SAVED_PATH,
    Side,
    Stage,
    build_extension_config,
    filter_name,
    stripped_key,
)
from meshpass.envoy.snapshot import Resource
from meshpass.ir import FailedToken, ObjectRef, Phase, PhasePolicies

_SCRIPT = """
local function decode(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function split(path, names)
  local start, query = path:match("^([^?]*)%?(.*)$")
  if not start then return path, 0 end
  local kept, found = {}, {}
  local count = 0
  for part in query:gmatch("[^&]+") do
    local name = decode(part:match("^[^=]*"))
    if not names[name] then
      kept[#kept + 1] = part
    elseif not found[name] then
      found[name] = true
      count = count + 1
    end
  end
  if #kept == 0 then return start, count end
  return start .. "?" .. table.concat(kept, "&"), count
end

local function any(verified, providers)
  for _, key in ipairs(providers) do
    if verified[key] ~= nil then return true end
  end
  return false
end

local function occupied(headers, token)
  local _, count = split(headers:get(":path") or "", token.all_parameters)
  for _, name in ipairs(token.all_headers) do
    if headers:get(name) ~= nil then count = count + 1 end
  end
  return count
end

local function is_kept(verified, headers, token)
  if not any(verified, token.alternatives) then return false end
  return any(verified, token.keeping) and occupied(headers, token) == 1
end

local function repair(headers, names)
  local query = headers:get(SAVED_PATH):match("%?(.*)$")
  local rest = split(headers:get(":path"):match("^[^?]*") .. "?" .. query, names)
  headers:replace(":path", rest)
  headers:replace(SAVED_PATH, rest)
end

local function take_out(headers, name, parameters)
  local path = headers:get(name)
  local rest = path and split(path, parameters)
  if rest ~= path then headers:replace(name, rest) end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local saved = headers:get(SAVED_PATH)
  if not (saved and saved:find("?", 1, true)) and next(failed) == nil and next(rerouted) == nil then return end
  local metadata = handle:streamInfo():dynamicMetadata():get(NAMESPACE)
  if metadata == nil then return end
  local clear, verified = false, {}
  for entry in pairs(metadata) do
    local key, names = entry:match("^([^?]*)%??(.*)$")
    verified[key] = true
    if rerouted[key] then clear = true end
    if stripped[names] and (headers:get(SAVED_PATH) or ""):find("?", 1, true) then repair(headers, stripped[names]) end
  end
  local removed = {}
  for key in pairs(verified) do
    local token = failed[key]
    if token and not is_kept(verified, headers, token) then removed[#removed + 1] = token end
  end
  for _, token in ipairs(removed) do
    for _, name in ipairs(token.headers) do headers:remove(name) end
    take_out(headers, ":path", token.parameters)
    take_out(headers, SAVED_PATH, token.parameters)
  end
  if clear then handle:clearRouteCache() end
end
"""
"""Takes an accepted token out of the query: Envoy does that too, but decodes all the rest of the query on the way, so that
``a=x%26b=1`` would arrive as two parameters; the query is made anew from what the client sent.

Removes a token that failed and was let pass, and has the route chosen again where a policy asks for it. No other
filter can do either for some requests only and be delivered by ECDS.

A token that one provider refused may be the one that another accepted, which Envoy has taken out unless that provider
keeps it. So what is still there is kept only if it is alone and a provider that accepted a token keeps it.

What was verified is walked through in no order, and the script of the second phase comes after that of the first: what
is removed depends on neither, because all is judged before any of it goes, and it goes from the saved path as well, from
which the query is made anew."""


def build_finish_filter(side: Side, phase: Phase, policies: PhasePolicies, sources: frozenset[ObjectRef]) -> Resource:
    """The script with its tables; a filter that does nothing where there is nothing to do, which is most of the time."""
    name = filter_name(side, phase, Stage.FINISH)
    if not policies.failed and not policies.rerouted and not policies.stripped:
        return build_extension_config(name, HeaderMutation(), frozenset())
    failed = ",".join(entry for name in sorted(policies.failed) for entry in _failed(name, policies.failed[name]))
    rerouted = _set(sorted(policies.rerouted))
    stripped = ",".join(f"[{_text(stripped_key(names))}]={_set(names)}" for names in sorted(policies.stripped))
    tables = (
        f"local NAMESPACE = {_text(JWT_METADATA)}",
        f"local SAVED_PATH = {_text(SAVED_PATH)}",
        f"local failed = {{{failed}}}",
        f"local rerouted = {rerouted}",
        f"local stripped = {{{stripped}}}",
    )
    script = Lua(default_source_code=DataSource(inline_string="\n".join((*tables, _SCRIPT))))
    return build_extension_config(name, script, sources)


def _failed(provider: str, token: FailedToken) -> Iterator[str]:
    """What is removed when the provider refused a token, and when it accepted one.

    Then Envoy asks no other provider, and a further token is judged by nobody: where no provider keeps tokens, it is
    removed from wherever any of them looks.
    """
    yield _entry(FAILED_KEY + provider, token)
    if not token.keeping:
        everywhere = replace(token, headers=token.all_headers, query_parameters=token.all_query_parameters)
        yield _entry(PROVIDER_KEY + provider, everywhere)


def _entry(key: str, token: FailedToken) -> str:
    fields = {
        "alternatives": _list(PROVIDER_KEY + name for name in token.alternatives),
        "keeping": _list(PROVIDER_KEY + name for name in token.keeping),
        "headers": _list(token.headers),
        "parameters": _set(token.query_parameters),
        "all_headers": _list(token.all_headers),
        "all_parameters": _set(token.all_query_parameters),
    }
    body = ",".join(f"{name}={value}" for name, value in fields.items())
    return f"[{_text(key)}]={{{body}}}"


def _list(items: Iterable[str]) -> str:
    return "{" + ",".join(_text(item) for item in items) + "}"


def _set(items: Iterable[str]) -> str:
    return "{" + ",".join(f"[{_text(item)}]=true" for item in items) + "}"


def _text(value: str) -> str:
    """A Lua literal; every byte by its number, so that nothing in a user's text can end it."""
    return '"' + "".join(f"\\{byte:03d}" for byte in value.encode()) + '"'
