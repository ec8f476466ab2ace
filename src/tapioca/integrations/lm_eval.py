"""A live plan inside lm-evaluation-harness: its whole machinery runs on the planned model, without an export.

    python -m tapioca.integrations.lm_eval run --model tapioca --model_args pretrained=MODEL,plan=plan.json --tasks arc_easy

is lm-eval's own command line, with this model known to it. Needs `[harness]`.
"""

from contextlib import ExitStack
from typing import Any

from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM

from tapioca.errors import UsageError
from tapioca.models.edit import apply
from tapioca.plan import Plan


@register_model("tapioca")
class PlannedLM(HFLM):  # type: ignore[misc]
    """lm-eval's Hugging Face model under a plan for as long as it lives.

    Args:
        pretrained: folder or hub id, as `HFLM` takes it.
        plan: a plan file, or its JSON.
        options: as `HFLM` takes them.
    """

    def __init__(self, pretrained: str, plan: str, **options: Any):
        super().__init__(pretrained=pretrained, **options)
        self.plans = ExitStack()
        self.plans.enter_context(apply(self.model, Plan.read(plan)))

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuse lm-eval's request cache.

        Raises:
            UsageError: its keys do not name the model, so two plans would share their answers.
        """
        raise UsageError("lm-eval's cache does not know plans, so two plans would share answers; leave out --use_cache")


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
