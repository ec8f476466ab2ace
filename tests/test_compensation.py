"""Factors and maps that make up for dropped layers, against least squares by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tapioca.errors import ModelError, NonFiniteError, UsageError
from tapioca.models.edit import apply
from tapioca.models.inputs import collate
from tapioca.models.tiny import tiny
from tapioca.observe.compensation import compensate_plan, find_layers_behind_gaps, fit_factors
from tapioca.observe.mlp_maps import STRENGTHS, Squares, find_gaps, fit_maps
from tapioca.observe.streams import read_stream
from tapioca.plan import Plan

PROMPTS = [tuple(range(5, 5 + length)) for length in (3, 7, 4, 9, 5)]


def own_states(model: torch.nn.Module, depth: int) -> np.ndarray:
    """The model's own hidden states after so many layers, one prompt at a time, without each prompt's first token."""
    with torch.inference_mode():
        states = [model(torch.tensor([ids]), output_hidden_states=True).hidden_states[depth][0, 1:] for ids in PROMPTS]
    return torch.cat(states).double().numpy()


@pytest.mark.parametrize(("drops", "behind"), [([1], [2]), ([1, 2], [3]), ([0, 2], [1, 3]), ([3], []), ([2, 3], [])])
def test_layers_behind_gaps(drops: list[int], behind: list[int]) -> None:
    assert find_layers_behind_gaps(Plan.drop(4, drops)) == behind


@pytest.mark.parametrize(("name", "drops"), [("llama", [2]), ("gpt2", [0, 2]), ("gemma2", [0, 2])])
def test_each_factor_is_that_of_least_squares(name: str, drops: list[int]) -> None:
    model = tiny(name)
    plan = Plan.drop(4, drops)
    fitted = fit_factors(model, plan, PROMPTS, batch_size=2)
    assert [layer for layer, _ in fitted.factors] == find_layers_behind_gaps(plan)
    for number, (layer, factor) in enumerate(fitted.factors):
        earlier = plan.compensate(dict(fitted.factors[:number]))
        full = own_states(model, layer).ravel()
        with apply(model, earlier):
            planned = own_states(model, sum(kept < layer for kept in plan.kept)).ravel()
        expected = np.linalg.lstsq(planned[:, None], full, rcond=None)[0].item()
        assert factor == pytest.approx(expected, rel=1e-5)
    again = fit_factors(model, fitted, PROMPTS, batch_size=5)
    assert dict(again.factors) == pytest.approx(dict(fitted.factors), rel=1e-5)


def test_streams_that_point_elsewhere_have_no_factor() -> None:
    message = (
        r"no factor in front of layer 3 makes up for what 'drop 0, 2, stream×.* before 1' drops: the streams of both"
    )
    with pytest.raises(ModelError, match=message):
        fit_factors(tiny("llama"), Plan.drop(4, [0, 2]), PROMPTS)


@pytest.mark.parametrize(
    ("drops", "gaps"), [([1], [(0, 2)]), ([1, 2], [(0, 3)]), ([0, 2], [(1, 3)]), ([0], []), ([3], [(2, 4)])]
)
def test_layers_in_front_of_gaps(drops: list[int], gaps: list[tuple[int, int]]) -> None:
    assert find_gaps(Plan.drop(4, drops)) == gaps


def test_squares_are_those_of_least_squares_by_hand() -> None:
    rng = np.random.default_rng(0)
    updates, wanted = rng.standard_normal((2, 50, 6))
    u, r = torch.from_numpy(updates), torch.from_numpy(wanted)
    squares = Squares(u.T @ u, r.T @ u, float((r**2).sum()))
    matrix = np.linalg.lstsq(updates, wanted, rcond=None)[0].T
    assert np.allclose(squares.solve(0.0).numpy(), matrix)
    assert squares.measure_error(torch.from_numpy(matrix)) == pytest.approx(((updates @ matrix.T - wanted) ** 2).sum())
    strength = 0.3
    ridge = np.sqrt(strength * (updates**2).sum() / 6) * np.eye(6)  # rows that ask for the identity
    matrix = np.linalg.lstsq(np.vstack([updates, ridge]), np.vstack([wanted, ridge]), rcond=None)[0].T
    assert np.allclose(squares.solve(strength).numpy(), matrix)


def read_outputs(model: torch.nn.Module, path: str) -> np.ndarray:
    """What a module returns, one prompt at a time, without each prompt's first token."""
    outputs: list[torch.Tensor] = []

    def read(module: torch.nn.Module, args: tuple, output: torch.Tensor | tuple) -> None:
        outputs.append((output[0] if isinstance(output, tuple) else output)[0, 1:])

    with model.get_submodule(path).register_forward_hook(read):
        own_states(model, 0)
    return torch.cat(outputs).double().numpy()


@pytest.mark.parametrize(
    ("name", "layers", "mlp"), [("llama", "model.layers", "mlp"), ("gpt2", "transformer.h", "mlp")]
)
def test_each_map_is_that_of_least_squares_on_all_prompts(name: str, layers: str, mlp: str) -> None:
    model, plan = tiny(name), Plan.drop(4, [1, 3])
    fitted = fit_maps(model, plan, PROMPTS, batch_size=2)
    assert [layer for layer, _ in fitted.maps] == [0, 2]
    for number, (layer, held) in enumerate(fitted.maps):
        full = read_outputs(model, f"{layers}.{layer + 1}")
        with apply(model, plan.replace_tables(maps=dict(fitted.maps[:number]))):
            updates = read_outputs(model, f"{layers}.{number}.{mlp}")
            before = read_outputs(model, f"{layers}.{number}") - updates
        errors = []
        for strength in STRENGTHS:
            ridge = np.sqrt(strength * (updates**2).sum() / 32) * np.eye(32)
            targets = np.vstack([full - before, ridge])
            matrix = np.linalg.lstsq(np.vstack([updates, ridge]), targets, rcond=None)[0].T
            errors.append(np.abs(matrix - held.array).max())
        assert min(errors) < 1e-4
        error = ((before + updates @ held.array.T - full) ** 2).sum()
        assert error < ((before + updates - full) ** 2).sum()
    assert fit_maps(model, fitted, PROMPTS, batch_size=5).maps[0][1].array == pytest.approx(
        fitted.maps[0][1].array, abs=1e-5
    )


@pytest.mark.parametrize("name", ["gemma2", "qwen2_moe", "opt", "gptj"])
def test_maps_of_other_types_bring_the_streams_together(name: str) -> None:
    """A norm behind the MLP, experts, an MLP without a module, and one beside attention."""
    model, plan = tiny(name), Plan.drop(4, [2])
    fitted = fit_maps(model, plan, PROMPTS * 3, batch_size=4)
    distances = []
    for tried in (plan, fitted):
        with apply(model, tried):
            planned = read_stream(model, collate(model, PROMPTS), 2)
        distances.append(float((planned - read_stream(model, collate(model, PROMPTS), 3)).norm()))
    assert distances[1] < 0.7 * distances[0]


def test_what_cannot_be_compensated_is_refused_in_one_line() -> None:
    llama = tiny("llama")
    for plan, kind, message in [
        (Plan.full(4), "scale", "'full model' drops no whole layer, so that there is no gap to compensate"),
        (Plan.scale(4, {1: 0.0}, "mlp"), "linear", "'drop mlp 1' drops no whole layer"),
        (Plan(n_layers=4, layers={1: 0.0}, repeats=[(2, 3)]), "scale", "repeats blocks or sets norms"),
        (
            Plan.drop(4, [3]),
            "scale",
            "no layer stands behind what 'drop 3' drops, so that no factor can; use a linear map",
        ),
        (
            Plan.drop(4, [0, 1]),
            "linear",
            "no layer stands in front of what 'drop 0–1' drops, whose MLP could be mapped",
        ),
    ]:
        with pytest.raises(UsageError, match=message):
            compensate_plan(llama, plan, PROMPTS, kind)
    with pytest.raises(ModelError, match="3 prompts are too few to fit a linear map on; give at least 4"):
        fit_maps(llama, Plan.drop(4, [2]), PROMPTS[:3])
    with pytest.raises(ModelError, match="its layers normalise after the update was added"):
        compensate_plan(tiny("bert"), Plan.drop(4, [2]), PROMPTS, "linear")
    with torch.no_grad():
        broken = copy.deepcopy(llama)
        broken.get_input_embeddings().weight[6] = torch.nan
    with pytest.raises(NonFiniteError, match="states around layer 1 are NaN or infinite under plan 'drop 2'"):
        fit_maps(broken, Plan.drop(4, [2]), PROMPTS)
