"""Access: where an API server is and how to authenticate there, read from a kubeconfig."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import msgspec
import yaml
from lightkube.config.client_adapter import AsyncClient, ConnectionParams, user_auth
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import NameValue, User
from lightkube.core.exceptions import ConfigError

from meshpass.errors import ApiError, MeshpassError

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_EXEC_VERSION = "client.authentication.k8s.io/v1"
_EXEC_VERSION_OF_LIBRARY = "client.authentication.k8s.io/v1beta1"


def read_access(path: Path, context: str | None) -> SingleConfig:
    """What the kubeconfig says about ``context``, or about its current context; raises MeshpassError naming the file."""
    try:
        config = KubeConfig.from_file(path).get(context)
    except KeyError as error:
        raise MeshpassError(
            f"kubeconfig {path}: context {context or 'current'!r} needs {error}, which is not there"
        ) from error
    except (ConfigError, OSError, AttributeError, TypeError, ValueError, yaml.YAMLError) as error:
        hint = "name a kubeconfig that exists, and one of its contexts"
        raise MeshpassError(f"kubeconfig {path}: {_without_content(error)}", hint=hint) from error
    assert config is not None  # `get` answers None only for a default that is None
    return config._replace(user=_usable_user(config))


def connect(path: Path, context: str | None) -> tuple[httpx.AsyncClient, SingleConfig]:
    """An HTTP client for the API server of ``context``, which follows credentials as they change in the file.

    Proxies and CA bundles of the environment count, but never for a loopback server: the mesh's own programs run with
    ``http_proxy`` pointing into the mesh.
    """
    config = read_access(path, context)
    parameters = ConnectionParams(timeout=_TIMEOUT, trust_env=not _is_loopback(config.cluster.server))
    try:
        http = AsyncClient(config, parameters)
    except (OSError, ValueError, ConfigError) as error:
        raise MeshpassError(f"kubeconfig {path}: bad certificate, key or address: {error}") from error
    http.auth = KubeconfigAuth(path, context, config)
    return http, config


class KubeconfigAuth(httpx.Auth):
    """Authenticates as the kubeconfig's user; on 401 the file is read again, and the request repeated if it changed."""

    def __init__(self, path: Path, context: str | None, config: SingleConfig) -> None:
        self._path = path
        self._context = context
        self._user = config.user
        self._auth = user_auth(self._user) or httpx.Auth()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Runs the flow of the user's own method, and once more when the kubeconfig holds other credentials by now."""
        for last in (False, True):
            user, flow = self._user, self._auth.async_auth_flow(request)
            try:
                outgoing = await anext(flow)
                while True:
                    response = yield outgoing
                    outgoing = await flow.asend(response)
            except StopAsyncIteration:
                pass
            except (ConfigError, OSError, KeyError, TypeError, ValueError) as error:
                raise _no_credentials(self._user, error) from error
            finally:
                await flow.aclose()
            # Another request may have read the file again meanwhile: then there are other credentials by now as well.
            if last or response.status_code != 401 or not (self._user is not user or self._reload()):
                return

    def _reload(self) -> bool:
        try:
            user = read_access(self._path, self._context).user
        except MeshpassError:
            return False  # half-written or gone: the answer 401 stands, and the next request looks again
        if user == self._user:
            return False
        self._user = user
        self._auth = user_auth(user) or httpx.Auth()
        return True


def _usable_user(config: SingleConfig) -> User:
    """The user with absolute paths, and with an exec plugin that the library runs whatever its API version is.

    The library refuses ``v1``, though it reads nothing but ``status.token``, the same in every version. The plugin
    learns from KUBERNETES_EXEC_INFO which version to speak.
    """
    user = config.user or User()
    if user.token_file:
        user.token_file = str(config.abs_file(user.token_file))
    if user.exec:
        execution = user.exec
        info = {"apiVersion": execution.apiVersion, "kind": "ExecCredential", "spec": {"interactive": False}}
        text = msgspec.json.encode(info).decode()
        execution.env = [*(execution.env or []), NameValue(name="KUBERNETES_EXEC_INFO", value=text)]
        if execution.apiVersion == _EXEC_VERSION:
            execution.apiVersion = _EXEC_VERSION_OF_LIBRARY
    return user


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _without_content(error: Exception) -> str:
    """What is wrong with the file, without quoting it: the quoted line may be the one with the token."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error)


def _no_credentials(user: User | None, error: Exception) -> ApiError:
    command = user.exec.command if user and user.exec else None
    hint = (user.exec.installHint if user and user.exec else None) or "log in again, or get a fresh kubeconfig"
    words = str(error) if isinstance(error, ConfigError | OSError) else type(error).__name__
    source = f"the credential plugin {command}" if command else "the kubeconfig"
    return ApiError(f"no credentials from {source}: {words}", code=401, reason="Unauthorized", hint=hint)
