"""Every golden case in a real Envoy: what we build is what Envoy takes."""

from __future__ import annotations

import pytest
from tests.golden.rendering import case_folders, case_name, run_case
from tests.support.envoy import run_envoy

pytestmark = pytest.mark.envoy


@pytest.mark.timeout(300)
async def test_every_case_is_accepted() -> None:
    """One Envoy takes the proxies of all cases, one after the other, without a rejection, each fully acknowledged.

    Each is reached from the one before by the real transition, so that this is also a walk over 150 switches.
    """
    wrong = []
    walked = 0
    async with run_envoy() as envoy:
        for folder in case_folders():
            for node, proxy in run_case(folder).translation.proxies.items():
                try:
                    state = await envoy.apply(proxy)
                except TimeoutError:
                    wrong.append(f"{case_name(folder)} {node}: neither acknowledged nor rejected")
                    continue
                walked += 1
                wrong += [f"{case_name(folder)} {node}: {one.names}: {one.message}" for one in state.rejections]
    assert wrong == []
    assert walked > 150
