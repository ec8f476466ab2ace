"""What is said of the machine, and what is held and used on it meanwhile."""

from __future__ import annotations

import time

import numpy as np
import psutil
import pytest
import torch

from tapioca import machine
from tapioca.machine import MachineFacts, describe_machine, watch_memory, watch_others


def test_the_machine_is_named() -> None:
    facts = describe_machine()
    assert (facts.threads, facts.torch) == (1, torch.__version__)
    assert facts.name
    assert str(MachineFacts("EPYC", 4, 2, "2.6", "5.17")) == "EPYC, 2 threads of 4 cores, torch 2.6, transformers 5.17"
    assert str(MachineFacts("EPYC", 1, 1, "2.6", "5.17")).startswith("EPYC, 1 thread of 1 core, ")


def test_memory_is_what_was_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "POLL_SECONDS", 0.001)
    with watch_memory() as held:
        block = np.ones(2**23)  # 64 MiB
        time.sleep(0.1)
        del block
    assert 60 < held.mebibytes < 200


def test_what_others_take_is_what_is_not_idle_and_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    times = psutil.cpu_times()._replace(**dict.fromkeys(psutil.cpu_times()._fields, 0.0))
    clock = iter([times, times._replace(user=6.0, system=1.0, idle=3.0)])
    monkeypatch.setattr(machine.psutil, "cpu_times", lambda: next(clock))
    monkeypatch.setattr(machine.time, "process_time", iter([1.0, 3.0]).__next__)
    with watch_others() as others:
        assert others.share is None
    assert others.share == pytest.approx(0.5)
