"""Processes by name: whether the one that left a file behind is provably dead."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from pathlib import Path
from typing import NamedTuple

import psutil

DEAD_STATES = "ZX"
"""What Linux calls a process that has ended and waits for nobody but its parent."""


class ProcessName(NamedTuple):
    """A process, told from all others of all machines that may see the same files.

    Attributes:
        host: a digest of the machine and of the numbering of its processes (a container has one of its own).
        boot: a digest of when the machine was started last; empty where the system does not say.
        pid: the number of the process.
        started: when it began, in the unit of the system; numbers are used again, a number and a beginning are not.
    """

    host: str
    boot: str
    pid: int
    started: int

    @classmethod
    def of_this(cls) -> ProcessName:
        """The process that asks."""
        return cls(_name_host(), _name_boot(), os.getpid(), _find_start(os.getpid()) or 0)

    @classmethod
    def parse(cls, text: str) -> ProcessName | None:
        """The process that `str` wrote; None where the text is no such name."""
        parts = re.fullmatch(r"([0-9a-f]{8})-([0-9a-f]{8}|)-(\d{1,10})-(\d{1,20})", text)
        return cls(parts[1], parts[2], int(parts[3]), int(parts[4])) if parts else None

    def __str__(self) -> str:
        return "-".join(map(str, self))

    @property
    def is_dead(self) -> bool:
        """Whether it provably runs no more; of a process of another machine nothing can be proved."""
        if self.host != _name_host():
            return False
        if self.boot != _name_boot():
            return True
        start = _find_start(self.pid)
        return start is None or (0 not in (start, self.started) and start != self.started)


def _find_start(pid: int) -> int | None:
    """When the process of a number began; None where there is none, 0 where nobody says."""
    if not _exists(pid):
        return None
    if not Path("/proc/self/stat").exists():
        return _find_start_anywhere(pid)
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in DEAD_STATES else int(numbers[18])  # in ticks since the boot, whatever the clock says
    except OSError:  # hidden from other users, or it has ended just now
        return 0


def _exists(pid: int) -> bool:
    """Whether there is a process of a number, also where a system hides those of other users (`hidepid`)."""
    if os.name != "posix":
        return psutil.pid_exists(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is there, and another user's
        return True
    return True


def _find_start_anywhere(pid: int) -> int | None:
    """The same where the system has no /proc, by its clock."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return 0


def _name_host() -> str:
    numbering = os.readlink("/proc/self/ns/pid") if os.path.exists("/proc/self/ns/pid") else ""
    return _digest(platform.node(), _read("/etc/machine-id"), numbering)


def _name_boot() -> str:
    boot = _read("/proc/sys/kernel/random/boot_id")
    return _digest(boot) if boot else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:8]
