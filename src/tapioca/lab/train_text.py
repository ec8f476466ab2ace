"""Train a small ordinary language model on the questions of a task and their answers.

Every token is learnt: a model that learnt answers alone would be no language model, and whatever reads a prompt's own
likelihood (`sleb`, the canary) would measure nothing. The prompts' tokens and the answers' count half of the loss
each, since one word of answer would drown among the words of its prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tapioca.lab.config import TextConfig
from tapioca.lab.corpus import TrainingText, read_corpus
from tapioca.lab.tokenizer import BOS_ID, EOS_ID, PAD_ID, make_word_tokenizer
from tapioca.lab.trainer import OnStep, claim_training_folder, run_training, save_training
from tapioca.models.learner import llama_fields


def train_text(config: TextConfig, on_step: OnStep | None = None, checkpoint_every: int = 500) -> LlamaForCausalLM:
    """Train a Llama from scratch and save it in `config.out` with its tokenizer and `training.json`.

    An interrupted training continues from its last checkpoint when called again with the same config.

    Raises:
        UsageError: the folder holds the training of another config or of other data, or something else.
        DataError: the task cannot be read, or has no answers to learn.
        StoreError: the folder cannot be written.
    """
    claim_training_folder(config.out)
    corpus = read_corpus(config)
    tokenizer = make_word_tokenizer(corpus.words, config.context)
    torch.manual_seed(config.seed)
    shape = llama_fields(config.layers, config.width, config.heads, config.context)
    ids: dict[str, Any] = {"pad_token_id": PAD_ID, "bos_token_id": BOS_ID, "eos_token_id": EOS_ID}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **ids, **shape))
    record = run_training(
        config,
        model,
        lambda step: _loss(model, config, corpus.trained, step),
        on_step,
        checkpoint_every,
        data=corpus.digest,
    )
    record["held_out"] = measure_losses(model, corpus.held_out)
    tokenizer.save_pretrained(config.out)
    save_training(config, model, record)
    return model


def _loss(model: LlamaForCausalLM, config: TextConfig, texts: Sequence[TrainingText], step: int) -> torch.Tensor:
    """Mean loss of the prompts' tokens plus that of the answers', on the batch that belongs to `step`."""
    rng = np.random.default_rng([config.seed, step])
    indices = rng.choice(len(texts), min(config.batch, len(texts)), replace=False)
    ids, prompt_mask, answer_mask = _pad_texts([texts[index] for index in indices])
    losses, _ = _compute_losses(model, ids)
    return _masked_mean(losses, prompt_mask[:, 1:]) + _masked_mean(losses, answer_mask[:, 1:])


def _pad_texts(texts: Sequence[TrainingText]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids padded on the right, and where the words of prompts and of answers are; each of shape (text, token)."""
    length = max(len(text.ids) for text in texts)
    ids = torch.tensor([[*text.ids, *[PAD_ID] * (length - len(text.ids))] for text in texts])
    answer = torch.arange(length) >= torch.tensor([[text.answer] for text in texts])
    return ids, ~answer & (ids != BOS_ID), answer & (ids != PAD_ID)


def _compute_losses(model: LlamaForCausalLM, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log-likelihood in nats of every token but the first, and whether it is the likeliest: (text, token − 1).

    Padding stands behind and the model is causal, so it needs no mask.
    """
    logits = model(ids[:, :-1], use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return losses, logits.argmax(-1) == ids[:, 1:]


def _masked_mean(losses: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Mean loss of some tokens; 0 where there are none."""
    return losses[where].sum() / where.sum().clamp(min=1)


@torch.inference_mode()
def measure_losses(model: LlamaForCausalLM, texts: Sequence[TrainingText]) -> dict[str, Any]:
    """How a model reads and answers texts.

    Returns:
        `rows`; `prompt_loss` and `answer_loss`, in nats per token; and `answers_right`, the share of answers every
        token of which, EOS included, is the likeliest, so that the model would write them. None where there are no rows.
    """
    if not texts:
        return {"rows": 0, "prompt_loss": None, "answer_loss": None, "answers_right": None}
    batch_sums = []
    for start in range(0, len(texts), 64):
        ids, prompt_mask, answer_mask = _pad_texts(texts[start : start + 64])
        losses, is_likeliest = _compute_losses(model, ids)
        prompt_mask, answer_mask = prompt_mask[:, 1:], answer_mask[:, 1:]
        totals = [(losses * prompt_mask).sum(), prompt_mask.sum(), (losses * answer_mask).sum(), answer_mask.sum()]
        batch_sums.append([float(total) for total in (*totals, (is_likeliest | ~answer_mask).all(1).sum())])
    prompt_loss_sum, n_prompt_tokens, answer_loss_sum, n_answer_tokens, n_right = np.sum(batch_sums, axis=0)
    return {
        "rows": len(texts),
        "prompt_loss": prompt_loss_sum / max(1, n_prompt_tokens),
        "answer_loss": answer_loss_sum / n_answer_tokens,
        "answers_right": n_right / len(texts),
    }
