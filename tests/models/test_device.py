"""Where models are put; and that nothing asks an Apple GPU for float64, which it does not have."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import tapioca
from tapioca.errors import ModelError
from tapioca.models.device import choose_device, describe_idle_gpu

SOURCE = Path(tapioca.__file__).parent
ON_CPU = {
    ("checkpoints/bake.py", "weight.double()"),  # read from a file
    ("checkpoints/bake.py", "torch.from_numpy(held.array.copy()).double()"),
    ("observe/mlp_maps.py", "torch.eye(len(self.updates), dtype=torch.float64)"),  # beside sums made on the CPU
    ("observe/capture.py", "selected(output).double()"),  # `SelectLastTokens` returns CPU tensors
}
"""Conversions whose tensor is on the CPU before."""


def widened(code: str) -> list[str]:
    """Conversions of a tensor to float64 that do not stand directly behind `.cpu()`."""
    wrong = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            wide = node.func.attr == "double" or (
                node.func.attr in ("to", "type") and any("float64" in ast.unparse(argument) for argument in node.args)
            )
            if (wide or _makes(node)) and not ast.unparse(node.func.value).endswith(".cpu()"):
                wrong.append(ast.unparse(node))
    return wrong


def _makes(node: ast.Call) -> bool:
    """A tensor made in float64, or moved with a dtype said by name."""
    return any(
        word.arg == "dtype" and ast.unparse(word.value) in ("torch.float64", "torch.double") for word in node.keywords
    )


def test_tensors_go_to_the_cpu_before_they_become_float64() -> None:
    found = {
        (str(path.relative_to(SOURCE)), call)
        for path in SOURCE.rglob("*.py")
        for call in widened(path.read_text("utf-8"))
    }
    assert found == ON_CPU


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("x.double().cpu()", 1),
        ("x.cpu().double()", 0),
        ("x[:, -1].log_softmax(-1).double().cpu().numpy()", 1),
        ("x.to(torch.float64)", 1),
        ("x.cpu().to(torch.float64).mean()", 0),
        ("torch.zeros(3, dtype=torch.float64)", 1),
        ("x.sum(dtype=torch.double)", 1),
        ("x.float().mean()", 0),
        ("np.zeros(3, dtype=np.float64)", 0),
    ],
)
def test_the_wrong_order_is_found(code: str, count: int) -> None:
    assert len(widened(code)) == count


@pytest.mark.parametrize(
    ("device", "cuda", "mps", "said"),
    [
        (None, False, True, "the CPU is used; a GPU (mps) is there, --device mps uses it"),
        (None, False, False, ""),
        (None, True, True, ""),
        ("cpu", False, True, ""),
        ("mps", False, True, ""),
    ],
)
def test_an_apple_gpu_is_named(
    device: str | None, cuda: bool, mps: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert describe_idle_gpu(device) == said
    if not cuda and device is None:
        assert choose_device(device) == "cpu"


@pytest.mark.parametrize("device", ["nonsense", "mps", "cuda:99", "meta"])
def test_devices_that_are_not_there(device: str) -> None:
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(
        ModelError, match=r"^(cannot use device|device 'meta')[^\n]*; use cpu, cuda, cuda:N, mps or auto$"
    ):
        choose_device(device)
