"""A plan on a live model: no trace, exact, and fit for generation. Run over every family."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from support.contracts import count_hooks
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.edit import apply, shorten_config
from tapioca.models.find import find_layers
from tapioca.models.learner import Learner, learner_config
from tapioca.models.tiny import tiny
from tapioca.plan import Plan

IDS = torch.randint(3, 128, (2, 24), generator=torch.Generator().manual_seed(1))
DROPS = [(0,), (3,), (1, 2), (0, 3)]


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS, use_cache=False).logits


def rebuilt(model: PreTrainedModel, plan: Plan) -> PreTrainedModel:
    """The model built anew without the dropped layers, from its config and its renamed weights."""
    config = copy.deepcopy(model.config)
    for name, value in shorten_config(config, plan).items():
        setattr(config, name, value)
    path = find_layers(model).path
    number = {old: new for new, old in enumerate(plan.kept)}
    weights = {}
    for name, tensor in model.state_dict().items():
        if name.startswith(path + "."):
            layer, _, rest = name[len(path) + 1 :].partition(".")
            if int(layer) not in number:
                continue
            name = f"{path}.{number[int(layer)]}.{rest}"
        weights[name] = tensor
    other = AutoModelForCausalLM.from_config(config)
    other.load_state_dict(weights)
    return other.eval()


@pytest.mark.parametrize("drops", DROPS)
def test_a_drop_equals_the_model_rebuilt_without_it(model: PreTrainedModel, drops: tuple[int, ...]) -> None:
    plan = Plan.drop(4, drops)
    with apply(model, plan):
        live = logits(model)
    assert torch.equal(live, logits(rebuilt(model, plan)))


def test_a_drop_changes_the_outputs(model: PreTrainedModel) -> None:
    before = logits(model)
    for layer in range(4):
        with apply(model, Plan.drop(4, [layer])):
            assert (logits(model) - before).abs().max() > 0.01


def test_no_trace_is_left(model: PreTrainedModel) -> None:
    before, counted, config = logits(model), count_hooks(model), copy.deepcopy(model.config.to_dict())
    blocks, keys = list(find_layers(model).blocks), list(model.state_dict())
    for plan in (Plan.drop(4, [0, 2]), Plan(n_layers=4, layers={1: 0.5, 3: 0.0}), Plan.full(4)):
        with apply(model, plan):
            logits(model)
    assert torch.equal(logits(model), before)
    assert count_hooks(model) == counted
    assert model.config.to_dict() == config
    assert list(find_layers(model).blocks) == blocks
    assert list(model.state_dict()) == keys
    assert all(getattr(m, "layer_idx", at) == at for at, block in enumerate(blocks) for m in block.modules())


def test_no_trace_is_left_after_an_exception(model: PreTrainedModel) -> None:
    before, counted = logits(model), count_hooks(model)
    with pytest.raises(RuntimeError, match="stop"), apply(model, Plan(n_layers=4, layers={0: 0.0, 2: 0.5})):
        raise RuntimeError("stop")
    assert torch.equal(logits(model), before)
    assert count_hooks(model) == counted


def test_a_users_own_hook_stays(model: PreTrainedModel) -> None:
    seen: list[int] = []
    handle = find_layers(model).blocks[1].register_forward_hook(lambda *_: seen.append(1))
    with apply(model, Plan.scale(4, {1: 0.5})):
        logits(model)
    logits(model)
    handle.remove()
    assert len(seen) == 2


def test_scales_of_one_change_nothing(model: PreTrainedModel) -> None:
    before = logits(model)
    with apply(model, Plan.scale(4, dict.fromkeys(range(4), 1.0))):
        assert torch.equal(logits(model), before)


def test_a_scale_is_residual(model: PreTrainedModel) -> None:
    """Under a scale a, the last layer gives h + a (layer(h) - h)."""
    last = find_layers(model).blocks[3]
    seen: dict[str, torch.Tensor] = {}

    def keep(module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
        seen["before"] = (args[0] if args else kwargs["hidden_states"]).clone()
        seen["after"] = (output[0] if isinstance(output, tuple) else output).clone()

    with last.register_forward_hook(keep, with_kwargs=True):
        logits(model)
    plain = dict(seen)
    with apply(model, Plan.scale(4, {3: 0.3})), last.register_forward_hook(keep, with_kwargs=True):
        logits(model)
    assert torch.allclose(seen["after"], plain["before"] + 0.3 * (plain["after"] - plain["before"]), atol=1e-6)


def test_a_scale_of_nearly_zero_is_nearly_a_drop(model: PreTrainedModel) -> None:
    with apply(model, Plan.drop(4, [2])):
        dropped = logits(model)
    with apply(model, Plan.scale(4, {2: 1e-7})):
        assert torch.allclose(logits(model), dropped, atol=1e-4)


@pytest.mark.parametrize("drops", DROPS)
def test_generation_with_and_without_cache_and_padding(model: PreTrainedModel, drops: tuple[int, ...]) -> None:
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), IDS[:1, :9]], dim=1)
    both = torch.cat([padded, IDS[1:, :12]])
    mask = torch.ones_like(both)
    mask[0, :3] = 0
    settings = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with apply(model, Plan.drop(4, drops)):
        cached = model.generate(both, attention_mask=mask, use_cache=True, **settings)
        uncached = model.generate(both, attention_mask=mask, use_cache=False, **settings)
        alone = model.generate(IDS[:1, :9], use_cache=True, **settings)
    assert torch.equal(cached, uncached)
    assert torch.equal(cached[0, 3:], alone[0])


def test_half_precision_is_kept(model: PreTrainedModel) -> None:
    half = model.to(torch.bfloat16)
    before = logits(half)
    with apply(half, Plan(n_layers=4, layers={0: 0.0, 2: 0.7})):
        assert logits(half).dtype == torch.bfloat16
    assert torch.equal(logits(half), before)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan.drop(5, [1]), "for a model of 5 layers, this one has 4"),
        (Plan.drop(4, range(4)), "drops all 4 layers"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_before_anything_runs(plan: Plan, message: str) -> None:
    model = tiny("llama")
    with pytest.raises(ModelError, match=message), apply(model, plan):
        pytest.fail("must not get here")


def test_plans_nest(model: PreTrainedModel) -> None:
    """The inner plan is for the layers the outer one keeps."""
    with apply(model, Plan(n_layers=4, layers={0: 0.0, 3: 0.5}, attention={2: 0.0})):
        outer = logits(model)
        with apply(model, Plan(n_layers=3, layers={0: 0.0}, mlp={1: 0.3})):
            nested = logits(model)
        assert torch.equal(logits(model), outer)
    with apply(model, Plan(n_layers=4, layers={0: 0.0, 1: 0.0, 3: 0.5}, attention={2: 0.0}, mlp={2: 0.3})):
        assert torch.equal(logits(model), nested)


def test_the_cache_is_right_when_an_inner_plan_makes_another_attention_the_first(model: PreTrainedModel) -> None:
    settings = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    mask = torch.ones_like(IDS)
    mask[0, :5] = 0
    with apply(model, Plan.scale(4, {2: 0.0}, "attention")), apply(model, Plan.drop(4, [0, 1])):
        cached = model.generate(IDS, attention_mask=mask, use_cache=True, **settings)
        assert torch.equal(cached, model.generate(IDS, attention_mask=mask, use_cache=False, **settings))


def test_a_dropped_branch_is_not_computed(model: PreTrainedModel) -> None:
    block = find_layers(model).blocks[1]
    called: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, path=path: called.append(path))
        for path, module in block.named_modules()
        if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
    ]
    logits(model)
    everything = set(called)
    called.clear()
    with apply(model, Plan.scale(4, {1: 0.0}, "mlp")):
        logits(model)
    assert {path for path in everything if "mlp" in path} == everything - set(called) != set()
    called.clear()
    with apply(model, Plan(n_layers=4, attention={1: 0.0}, mlp={1: 0.0})):
        logits(model)
    assert called == []
    for handle in handles:
        handle.remove()


def test_hidden_states_asked_for_before_and_under_a_plan_show_it(model: PreTrainedModel) -> None:
    """transformers installs its own hooks when hidden states are first asked for; ours must come before them."""
    with torch.inference_mode():
        plain = model(IDS, output_hidden_states=True).hidden_states
        with apply(model, Plan.scale(4, {1: 0.25})):
            scaled = model(IDS, output_hidden_states=True).hidden_states
    assert torch.equal(scaled[1], plain[1])
    assert torch.allclose(scaled[2], plain[1] + 0.25 * (plain[2] - plain[1]), atol=1e-5)


@pytest.mark.parametrize(
    "what",
    [
        {"layers": {1: 0.5}, "mlp": {2: 0.5}, "attention": {3: 0.0}},
        {"layers": {1: 0.0}},
        *(
            pytest.param(what, marks=pytest.mark.slow)
            for what in ({"layers": {1: 0.5}}, {"mlp": {1: 0.5}}, {"attention": {1: 0.0}})
        ),
    ],
)
def test_a_compiled_model_sees_the_plan(what: dict[str, dict[int, float]]) -> None:
    """torch.compile does not look for hooks that were added later; it does for another forward."""
    model, plan = tiny("llama"), Plan(n_layers=4, **what)
    with apply(model, plan):
        wanted = logits(model)
    before = logits(model)
    model.compile(backend="eager")
    assert torch.allclose(logits(model), before, atol=1e-5)
    with apply(model, plan):
        assert torch.allclose(logits(model), wanted, atol=1e-5)
    assert torch.allclose(logits(model), before, atol=1e-5)
    assert (wanted - before).abs().max() > 0.01


def in_thread(work: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_another_thread_gets_an_error_and_not_the_plan(model: PreTrainedModel) -> None:
    before = logits(model)

    def nested() -> None:
        with apply(model, Plan.drop(3, [0])):
            pytest.fail("must not get here")

    with apply(model, Plan.drop(4, [1])):
        for work in (lambda: logits(model), nested):
            with pytest.raises(ModelError, match="under a plan in another thread; apply the plan inside the thread"):
                in_thread(work)
        assert (logits(model) - before).abs().max() > 0.01
    assert torch.equal(in_thread(lambda: logits(model)), before)


def test_threads_with_their_own_copies_do_not_meet(model: PreTrainedModel) -> None:
    plans = [Plan.drop(4, [layer]) for layer in range(4)]
    copies = [copy.deepcopy(model) for _ in plans]

    def under(plan: Plan, mine: PreTrainedModel) -> torch.Tensor:
        with apply(mine, plan):
            return logits(mine)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(under, plans, copies))
    assert all(torch.equal(states, under(plan, model)) for states, plan in zip(found, plans, strict=True))


def test_the_learner_is_found_and_edited_like_any_model() -> None:
    model = Learner(learner_config(layers=3, width=16, heads=2)).eval()
    assert find_layers(model).path == "body.layers"
    values = torch.rand(2, 9, 2)
    before = model(values).logits
    with apply(model, Plan.drop(3, [1])):
        assert (model(values).logits - before).abs().max() > 0
    assert torch.equal(model(values).logits, before)


def test_families_outside_the_table_are_found_by_structure() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM, OPTConfig, OPTForCausalLM

    opt = OPTForCausalLM(
        OPTConfig(
            num_hidden_layers=3,
            hidden_size=32,
            ffn_dim=64,
            num_attention_heads=2,
            vocab_size=64,
            word_embed_proj_dim=32,
        )
    )
    assert find_layers(opt).path == "model.decoder.layers"
    gemma = Gemma2ForCausalLM(
        Gemma2Config(
            num_hidden_layers=3,
            hidden_size=32,
            intermediate_size=64,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=16,
            vocab_size=64,
        )
    )
    assert find_layers(gemma).path == "model.layers"


def test_when_unsure_the_candidates_are_listed() -> None:
    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))
            self.right = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))

    model = tiny("llama")
    model.config.model_type = "unheard_of"
    model.model.extra = Twins()
    with pytest.raises(ModelError, match=r"saw: .*model\.layers \(4\).*left \(4\).*right \(4\)"):
        find_layers(model)
