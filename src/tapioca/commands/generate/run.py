"""Use a plan on a live model from the shell, without writing weights."""

from collections.abc import Callable

import torch
from transformers import TextStreamer

from tapioca.commands.generate.config import GenerateConfig
from tapioca.errors import ModelError, UsageError
from tapioca.models.edit import apply, check_fits
from tapioca.models.failures import explain_failed_run
from tapioca.models.inputs import check_ids, find_input_device
from tapioca.models.load import load
from tapioca.plan import Plan
from tapioca.progress import SILENT, Progress
from tapioca.reading import explain_damage


class _CallbackStreamer(TextStreamer):
    """Hands over pieces of text as they are finished."""

    def __init__(self, tokenizer: object, tell: Callable[[str], None]):
        super().__init__(tokenizer, skip_special_tokens=True)  # type: ignore[arg-type]
        self.tell = tell

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.tell(text)


def prepare_writer(config: GenerateConfig, progress: Progress = SILENT) -> Callable[[Callable[[str], None]], None]:
    """Load a model to continue a prompt greedily under a plan.

    Returns:
        What writes: called with a function that is told each piece of text, the prompt first.

    Raises:
        DataError: the tokenizer gives an id the model has no embedding for.
        ModelError: the model has no tokenizer, or the plan does not fit it.
        UsageError: there is no such plan.
    """
    plan = Plan.read(config.plan)
    if plan.norms and plan.norm_tokens == "last":
        raise UsageError(
            f"{config.plan} sets norms at the last token alone, and of a text that is written each token is once the last; "
            "give a plan that sets them at all tokens"
        )
    progress.stage(f"loading {config.model}", 0)
    model, tokenizer = load(
        config.model,
        device=config.device,
        dtype=config.dtype,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
        adapter=config.adapter,
    )
    if tokenizer is None or not model.can_generate():
        raise ModelError(f"'{config.model}' cannot write text; use a causal language model with its tokenizer")
    inputs = tokenizer(config.prompt, return_tensors="pt", return_token_type_ids=False).to(find_input_device(model))
    check_ids(model, int(inputs["input_ids"].max()), "the prompt")
    with explain_damage(config.plan, ModelError):
        check_fits(model, plan)

    def write(tell: Callable[[str], None]) -> None:
        with apply(model, plan), explain_failed_run(model), torch.inference_mode():
            model.generate(  # type: ignore[operator]
                **inputs, max_new_tokens=config.tokens, do_sample=False, streamer=_CallbackStreamer(tokenizer, tell)
            )

    return write
