"""kubectl for tests: the real one, with a kubeconfig and a home of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.apiserver import RunningApiServer

KUBECTL = shutil.which("kubectl")

KUBECTL_MARKS = [
    pytest.mark.kubectl,
    pytest.mark.skipif(KUBECTL is None and os.environ.get("CI") != "true", reason="kubectl is not on PATH"),
]
"""Of every test that needs kubectl: it is skipped where there is none, except on CI, where it then fails."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run of kubectl said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with a kubeconfig and a home of its own."""

    server: RunningApiServer
    directory: Path

    def environment(self, **more: str) -> dict[str, str]:
        assert KUBECTL, "CI must have kubectl on PATH"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "KUBECONFIG": str(self.server.kubeconfig),
            "NO_PROXY": "*",
            **more,
        }

    async def run(self, *arguments: str, stdin: str = "", environment: dict[str, str] | None = None) -> Answer:
        process = await asyncio.create_subprocess_exec(
            KUBECTL or "kubectl",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment or self.environment(),
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin.encode())
        return Answer(process.returncode or 0, out.decode(), err.decode())

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """A kubectl that runs beside the test; stderr comes with stdout."""
        return await asyncio.create_subprocess_exec(
            KUBECTL or "kubectl",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.environment(),
        )

    async def ok(self, *arguments: str, stdin: str = "", environment: dict[str, str] | None = None) -> Answer:
        answer = await self.run(*arguments, stdin=stdin, environment=environment)
        assert answer.code == 0, answer
        return answer

    async def fails(self, *arguments: str, stdin: str = "") -> str:
        answer = await self.run(*arguments, stdin=stdin)
        assert answer.code != 0, answer
        return answer.err

    async def apply(self, *objects: dict[str, Any]) -> str:
        return (await self.ok("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))).out


def cells(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]
