"""Train a small ordinary language model on the questions of a task and their answers.

Every token is learnt: a model that learnt answers alone would be no language model, and whatever reads a prompt's own
likelihood (`sleb`, the canary) would measure nothing. The prompts' tokens and the answers' count half of the loss
each, since one word of answer would drown among the words of its prompt.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tapioca.lab.config import TextConfig
from tapioca.lab.corpus import TrainingText, read_corpus
from tapioca.lab.tokenizer import BOS_ID, EOS_ID, PAD_ID, make_word_tokenizer
from tapioca.lab.trainer import OnStep, hold_training_folder, run_training, save_training
from tapioca.models.learner import llama_fields
from tapioca.runs.places import remember_places


def train_text(config: TextConfig, on_step: OnStep | None = None, checkpoint_every: int = 500) -> LlamaForCausalLM:
    """Train a Llama from scratch and save it in `config.out` with its tokenizer and `training.json`.

    An interrupted training continues from its last checkpoint when called again with the same config.

    Raises:
        UsageError: the folder holds the training of another config or of other data, or something else.
        DataError: the task cannot be read, or has no answers to learn.
        StoreError: the folder cannot be written.
    """
    with hold_training_folder(config):
        corpus = read_corpus(config)
        tokenizer = make_word_tokenizer(corpus.words, config.context)
        torch.manual_seed(config.seed)
        shape = llama_fields(config.layers, config.width, config.heads, config.context)
        ids: dict[str, Any] = {"pad_token_id": PAD_ID, "bos_token_id": BOS_ID, "eos_token_id": EOS_ID}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **ids, **shape))

        def loss_at(step: int) -> torch.Tensor:
            """Mean loss of the prompts' tokens plus that of the answers', on the batch that belongs to a step."""
            rng, texts = np.random.default_rng([config.seed, step]), corpus.trained
            indices = rng.choice(len(texts), min(config.batch, len(texts)), replace=False)
            losses, _, prompt, answer = _read_texts(model, [texts[index] for index in indices])
            prompt_loss, answer_loss = (losses[where].sum() / where.sum().clamp(min=1) for where in (prompt, answer))
            return prompt_loss + answer_loss

        record = run_training(config, model, loss_at, on_step, checkpoint_every, data=corpus.digest)
        record["held_out"] = measure_losses(model, corpus.held_out)
        save_training(config, model, record, tokenizer)
        remember_places(corpus.digest, task=config.task)
    return model


def _read_texts(model: LlamaForCausalLM, texts: Sequence[TrainingText]) -> tuple[torch.Tensor, ...]:
    """Every token but the first, each tensor of shape (text, token − 1): its negative log-likelihood in nats, whether it is
    the likeliest, whether it is a word of the prompt, and whether one of the answer.

    Padding stands behind and the model is causal, so it needs no mask.
    """
    length = max(len(text.ids) for text in texts)
    ids = torch.tensor([[*text.ids, *[PAD_ID] * (length - len(text.ids))] for text in texts])
    behind_prompt = torch.arange(length) >= torch.tensor([[text.answer] for text in texts])
    prompt, answer = ~behind_prompt & (ids != BOS_ID), behind_prompt & (ids != PAD_ID)
    logits = model(ids[:, :-1], use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return losses, logits.argmax(-1) == ids[:, 1:], prompt[:, 1:], answer[:, 1:]


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
        losses, is_likeliest, prompt, answer = _read_texts(model, texts[start : start + 64])
        totals = [(losses * prompt).sum(), prompt.sum(), (losses * answer).sum(), answer.sum()]
        batch_sums.append([float(total) for total in (*totals, (is_likeliest | ~answer).all(1).sum())])
    prompt_loss_sum, n_prompt_tokens, answer_loss_sum, n_answer_tokens, n_right = np.sum(batch_sums, axis=0)
    return {
        "rows": len(texts),
        "prompt_loss": prompt_loss_sum / max(1, n_prompt_tokens),
        "answer_loss": answer_loss_sum / n_answer_tokens,
        "answers_right": n_right / len(texts),
    }
