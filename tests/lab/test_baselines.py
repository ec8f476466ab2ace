"""Baselines of the lab against direct computation, one prompt at a time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, stats

from tapioca.lab.baselines import (
    compute_gap_closed,
    compute_skill,
    estimate_residual_noise,
    measure_baseline_errors,
    predict_nearest,
    predict_ridge,
)
from tapioca.lab.functions import Polynomials
from tapioca.lab.tasks import draw_lab_prompts

RNG = np.random.default_rng


@pytest.mark.parametrize("context", [2, 4, 19])
def test_ridge_is_the_posterior_mean(context: int) -> None:
    """Against conditioning the joint normal law of context and answer, which knows no penalty."""
    law, noise = Polynomials(points=context + 1), 0.3
    prompts = law.draw_clean(30, RNG(0)).with_noise(noise, RNG(1))
    found = predict_ridge(prompts.x[:, :-1], prompts.context_y[:, :-1], prompts.x[:, -1], law, noise)
    variance = stats.uniform(-1, 2).var()
    for x, y, said in zip(prompts.x, prompts.context_y, found, strict=True):
        powers = np.vander(x, 4)
        joint = variance * powers @ powers.T + noise**2 * np.eye(context + 1)
        answer = joint[-1, :-1] @ linalg.solve(joint[:-1, :-1], y[:-1], assume_a="pos")
        assert said == pytest.approx(answer, abs=1e-10)


def test_ridge_without_noise_interpolates_and_prefers_small_coefficients() -> None:
    law = Polynomials()
    prompts = law.draw_clean(200, RNG(0))
    assert predict_ridge(prompts.x[:, :8], prompts.context_y[:, :8], prompts.x[:, 8], law, 0.0) == pytest.approx(
        prompts.targets[:, 8], abs=1e-7
    )
    found = predict_ridge(prompts.x[:, :2], prompts.context_y[:, :2], prompts.x[:, 2], law, 0.0)
    for x, y, said in zip(prompts.x, prompts.context_y, found, strict=True):
        smallest = linalg.lstsq(np.vander(x[:2], 4), y[:2])[0]
        assert said == pytest.approx(np.polyval(smallest, x[2]), abs=1e-9)


def test_nearest_neighbour() -> None:
    x, y = np.array([[0.0, 1.0, 0.4], [0.0, 1.0, 0.4]]), np.array([[5.0, 6.0, 7.0], [8.0, 9.0, 10.0]])
    assert predict_nearest(x, y, np.array([0.3, 0.9])).tolist() == [7.0, 9.0]


@pytest.mark.parametrize("scored", [1, 15])
def test_errors_are_means_over_the_scored_points(scored: int) -> None:
    prompts = draw_lab_prompts("lab:context_noise=0.5,n=40").prompts
    found = measure_baseline_errors(prompts, scored)
    fits = [
        linalg.lstsq(np.vander(x, 4), y)[1] for x, y in zip(prompts.x[:, :-1], prompts.context_y[:, :-1], strict=True)
    ]
    noise = np.sqrt(np.sum(fits) / (40 * (19 - 4)))
    assert noise == pytest.approx(0.5, rel=0.05)
    for at in range(40):
        x, seen, targets = prompts.x[at], prompts.context_y[at], prompts.targets[at]
        by_ridge, by_nearest = [], []
        for point in range(20 - scored, 20):
            powers = np.vander(x[:point], 4)
            fit = np.linalg.solve(powers.T @ powers + 3 * noise**2 * np.eye(4), powers.T @ seen[:point])
            by_ridge.append((np.polyval(fit, x[point]) - targets[point]) ** 2)
            by_nearest.append((seen[np.abs(x[:point] - x[point]).argmin()] - targets[point]) ** 2)
        assert found["ridge"][at] == pytest.approx(np.mean(by_ridge), abs=1e-9)
        assert found["nearest neighbour"][at] == pytest.approx(np.mean(by_nearest), abs=1e-12)
        assert found["constant"][at] == pytest.approx(np.mean(targets[20 - scored :] ** 2))


def test_the_baselines_rank_as_they_must() -> None:
    """What the context tells: everything in clean prompts, nothing of a rule that it does not show."""
    id_errors = {
        name: error.mean()
        for name, error in measure_baseline_errors(draw_lab_prompts("lab:id,n=2000").prompts, 15).items()
    }
    assert id_errors["ridge"] < 1e-6 < id_errors["nearest neighbour"] < 0.2 * id_errors["constant"]
    assert id_errors["constant"] == pytest.approx(Polynomials().standard_deviation ** 2, rel=0.05)
    negated = draw_lab_prompts("lab:rule_negated=1,n=2000")
    wrong = measure_baseline_errors(negated.prompts, negated.scored)
    assert wrong["ridge"].mean() == pytest.approx(4 * wrong["constant"].mean(), rel=1e-4)
    higher = draw_lab_prompts("lab:higher_degree=2,n=500,scored=1")
    assert np.median(measure_baseline_errors(higher.prompts, 1)["ridge"]) < 1e-12


def test_ridge_knows_the_noise_that_is_there() -> None:
    """A penalty for noise that is twice or half as large does worse."""
    prompts = draw_lab_prompts("lab:context_noise=0.5,n=4000").prompts
    x, seen, at, targets = prompts.x[:, :-1], prompts.context_y[:, :-1], prompts.x[:, -1], prompts.targets[:, -1]
    half, right, double = (
        np.mean((predict_ridge(x, seen, at, prompts.law, noise) - targets) ** 2) for noise in (0.25, 0.5, 1.0)
    )
    assert right < half
    assert right < double
    assert estimate_residual_noise(prompts) == pytest.approx(0.5, rel=0.01)
    assert measure_baseline_errors(prompts, 1)["ridge"].mean() == pytest.approx(right, rel=1e-3)


def test_what_counts_as_noise() -> None:
    for name, noise in (
        ("context_outliers=0.04", 1.0),  # the root of 0.04 · 5²
        ("rule_offset=3", 0.0),
        ("context_repeated=1,noise=0.3", 0.3),
        ("context_shorter=15,noise=0.3", 0.3),  # four points pass through every cubic
        ("context_longer=44,noise=0.3", 0.3),
    ):
        assert estimate_residual_noise(draw_lab_prompts(f"lab:{name},n=4000").prompts) == pytest.approx(
            noise, rel=0.03, abs=1e-9
        )


@pytest.mark.parametrize("name", ["sines=1", "absolutes=1", "steps=1", "splines=1"])
def test_ridge_is_of_use_on_functions_that_are_no_polynomials(name: str) -> None:
    drawn = draw_lab_prompts(f"lab:{name},n=1000")
    found = measure_baseline_errors(drawn.prompts, drawn.scored)
    assert 0.01 * found["constant"].mean() < found["ridge"].mean() < found["constant"].mean()


def test_skill_and_the_gap_closed() -> None:
    full, pruned, best, constant = (np.array(values) for values in ([1.0, 3.0], [1.0, 2.0], [0.5, 0.5], [2.0, 6.0]))
    assert compute_skill(full, constant) == 0.5
    assert compute_skill(constant, constant) == 0.0
    assert compute_gap_closed(full, pruned, best) == pytest.approx(0.5 / 1.5)
    assert compute_gap_closed(full, best, best) == 1.0
    assert compute_gap_closed(pruned, full, best) == -0.5
    assert compute_gap_closed(best, pruned, best) is None
