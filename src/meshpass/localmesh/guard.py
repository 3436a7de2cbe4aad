"""Guard: a small program between the supervisor and a child, so that no child outlives the supervisor.

``python guard.py exec <supervisor pid> COMMAND…`` (Linux) asks the kernel for SIGKILL on the supervisor's death and
becomes COMMAND. ``python guard.py group <supervisor pid> COMMAND…`` stays: it runs COMMAND in a process group of its
own and ends the whole group when its standard input, a pipe that only the supervisor holds, comes to an end. The
first costs nothing and suits programs that start no others; the second works on every Unix. ``python guard.py session
<supervisor pid> <descriptor> COMMAND…`` does the same for a command that has standard input itself: the pipe is another
descriptor, and COMMAND leads a session, whose terminal standard input is, if it is one.

It imports nothing of Meshpass: it has to start in milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_GRACE = 0.7
"""Seconds between SIGTERM and SIGKILL of a group; the supervisor waits a little longer."""


def die_with_parent(parent: int, number: int) -> None:
    """From here on this process gets the signal when ``parent`` dies, also across exec; Linux only.

    Ends the process at once where the parent died before the kernel was asked: without that look the signal
    would never come (prctl(2), PR_SET_PDEATHSIG).
    """
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the supervisor is gone")


def run_group(command: list[str], control: int = 0) -> int:
    """Runs the command in a group of its own until it ends or ``control`` does; the exit code, 128+n for a signal.

    Where ``control`` is not standard input, the command has our standard input, and a session of its own.
    """
    import select

    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        _become_child(guard, command, control)
    if control:
        # Who reads what the command writes shall see the end of it as soon as the command has ended.
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
    wait_for = [wake_read, control]
    deadline: float | None = None
    while True:
        readable, _, _ = select.select(wait_for, [], [], _GRACE if deadline else None)
        numbers = os.read(wake_read, 64) if wake_read in readable else b""
        stopping = (
            signal.SIGTERM in numbers or signal.SIGINT in numbers or (control in readable and not os.read(control, 1))
        )
        if stopping:
            wait_for = [wake_read]
            deadline = _GRACE
            _signal_group(child, signal.SIGTERM)
        elif not readable:
            _signal_group(child, signal.SIGKILL)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            _signal_group(child, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become_child(guard: int, command: list[str], control: int) -> None:
    signal.set_wakeup_fd(-1)
    if control:
        os.close(control)
        _lead_session()
    else:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
    if sys.platform == "linux":
        die_with_parent(guard, signal.SIGKILL)
    _execute(command)


def _lead_session() -> None:
    """A session and group of its own; signals as a shell would have them, and the terminal, if there is one."""
    import fcntl
    import termios

    os.setsid()
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Python ignores these, and a program inherits what is ignored.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def _signal_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return


def _execute(command: list[str]) -> None:
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def main() -> None:
    """Runs one of the modes; exits with the command's code."""
    mode, parent, *command = sys.argv[1:]
    if mode == "exec":
        die_with_parent(int(parent), signal.SIGKILL)
        _execute(command)
    if sys.platform == "linux":
        die_with_parent(int(parent), signal.SIGTERM)
    control = int(command.pop(0)) if mode == "session" else 0
    sys.exit(run_group(command, control))


if __name__ == "__main__":
    main()
