"""Flipped bits are noticed, or change nothing; `flips.py` prints the table."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from reliability.flips import OUTCOMES, count_outcomes, make_cases, make_run
from tapioca.errors import UsageError
from tapioca.lab.config import TrainConfig
from tapioca.lab.train import train


def test_a_flipped_bit_of_a_store_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    counts, faults = count_outcomes(make_cases(tmp_path), flips=20, seed=1)
    assert faults == []
    assert {name for counted in counts.values() for name in counted} <= set(OUTCOMES)
    assert sum(counted.total() for counted in counts.values()) == 20


@pytest.mark.slow
@pytest.mark.parametrize("is_command", [False, True])
def test_many_flipped_bits(is_command: bool, tmp_path: Path) -> None:
    cases = make_run(tmp_path / "run", is_command)
    cases += [] if is_command else make_cases(tmp_path)
    _, faults = count_outcomes(cases, flips=25 if is_command else 1000, seed=2)
    assert faults == []


def test_a_flipped_bit_of_a_training_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    config = TrainConfig(out=tmp_path / "whole", layers=1, width=8, heads=1, batch=2, steps=3, warmup=0)
    weights = train(config, checkpoint_every=2).state_dict()
    content, rng, noticed = (tmp_path / "whole" / "training.pt").read_bytes(), random.Random(3), 0
    for number in range(20):
        damaged, bit = bytearray(content), rng.randrange(8 * len(content))
        damaged[bit // 8] ^= 1 << bit % 8
        out = tmp_path / str(number)
        out.mkdir()
        (out / "training.pt").write_bytes(damaged)
        try:
            resumed = train(config.model_copy(update={"out": out})).state_dict()
            assert all(torch.equal(resumed[name], tensor) for name, tensor in weights.items()), bit
        except UsageError as error:
            assert str(error).startswith(f"cannot read {out / 'training.pt'}: ")
            assert str(error).endswith("; delete it to start again, or choose another folder")
            noticed += 1
    assert noticed >= 10
