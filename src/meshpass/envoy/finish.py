"""PhasePolicies → the configuration of the filter that tidies up after verification."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation
from envoy.extensions.filters.http.lua.v3.lua_pb2 import Lua

from meshpass.envoy.filters import (
    FAILED_KEY,
    JWT_METADATA,
    PROVIDER_KEY,
    Side,
    Stage,
    build_extension_config,
    filter_name,
)
from meshpass.envoy.snapshot import Resource
from meshpass.ir import FailedToken, ObjectRef, Phase, PhasePolicies

_SCRIPT = """
local function decode(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function without_parameters(path, names)
  local start, query = path:match("^([^?]*)%?(.*)$")
  if not start then return path end
  local kept = {}
  for part in query:gmatch("[^&]+") do
    local name = part:match("^[^=]*")
    if not names[name] and not names[decode(name)] then kept[#kept + 1] = part end
  end
  if #kept == 0 then return start end
  return start .. "?" .. table.concat(kept, "&")
end

local function accepted(verified, alternatives)
  for _, key in ipairs(alternatives) do
    if verified[key] ~= nil then return true end
  end
  return false
end

function envoy_on_request(handle)
  local verified = handle:streamInfo():dynamicMetadata():get(NAMESPACE)
  if verified == nil then return end
  local headers = handle:headers()
  local clear = false
  for key in pairs(verified) do
    if rerouted[key] then clear = true end
    local token = failed[key]
    if token and not accepted(verified, token.alternatives) then
      for _, name in ipairs(token.headers) do headers:remove(name) end
      local path = headers:get(":path")
      local rest = path and without_parameters(path, token.parameters)
      if rest ~= path then headers:replace(":path", rest) end
    end
  end
  if clear then handle:clearRouteCache() end
end
"""
"""Removes a token that failed and was let pass, and has the route chosen again where a policy asks for it. No other
filter can do either for some requests only and be delivered by ECDS."""


def build_finish_filter(side: Side, phase: Phase, policies: PhasePolicies, sources: frozenset[ObjectRef]) -> Resource:
    """The script with its tables; a filter that does nothing where there is nothing to do, which is most of the time."""
    name = filter_name(side, phase, Stage.FINISH)
    if not policies.failed and not policies.rerouted:
        return build_extension_config(name, HeaderMutation(), frozenset())
    failed = ",".join(_failed(provider, policies.failed[provider]) for provider in sorted(policies.failed))
    rerouted = _set(sorted(policies.rerouted))
    tables = f"local NAMESPACE = {_text(JWT_METADATA)}\nlocal failed = {{{failed}}}\nlocal rerouted = {rerouted}\n"
    script = Lua(default_source_code=DataSource(inline_string=tables + _SCRIPT))
    return build_extension_config(name, script, sources)


def _failed(provider: str, token: FailedToken) -> str:
    alternatives = _list(PROVIDER_KEY + name for name in token.alternatives)
    headers, parameters = _list(token.headers), _set(token.query_parameters)
    body = f"{{alternatives={alternatives},headers={headers},parameters={parameters}}}"
    return f"[{_text(FAILED_KEY + provider)}]={body}"


def _list(items: Iterable[str]) -> str:
    return "{" + ",".join(_text(item) for item in items) + "}"


def _set(items: Iterable[str]) -> str:
    return "{" + ",".join(f"[{_text(item)}]=true" for item in items) + "}"


def _text(value: str) -> str:
    """A Lua literal; every byte by its number, so that nothing in a user's text can end it."""
    return '"' + "".join(f"\\{byte:03d}" for byte in value.encode()) + '"'
