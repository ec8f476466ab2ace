"""An encoder tuned into a classifier, the same whenever it was interrupted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import AutoTokenizer, BertForSequenceClassification, PreTrainedTokenizerBase

from tapioca.lab.config import Training
from tapioca.lab.trainer import OnStep, run_training


def make_batches(lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Indices of an epoch's rows in batches of about equal length, so that little is padded, in random order."""
    order = rng.permutation(len(lengths))
    by_length = order[np.argsort(lengths[order], kind="stable")]
    batches = np.split(by_length, range(size, len(by_length), size))
    return [batches[index] for index in rng.permutation(len(batches))]


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> dict[str, torch.Tensor]:
    """A padded batch of texts."""
    return dict(tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt"))


def tune_encoder(
    encoder: Path,
    requests: pd.DataFrame,
    labels: Sequence[str],
    training: Training,
    on_step: OnStep | None = None,
    checkpoint_every: int = 100,
) -> tuple[BertForSequenceClassification, PreTrainedTokenizerBase, dict[str, Any]]:
    """Tune a BERT encoder into a classifier, from its last checkpoint where `training.out` has one.

    Batches and dropout follow from seed and step, so that an interrupted tuning ends with the same weights.

    Returns:
        The model, its tokenizer, and the record of the training: its settings and its loss over the steps.

    Raises:
        UsageError: the folder holds a training with other settings or requests.
    """
    names = dict(enumerate(labels))
    torch.manual_seed(training.seed)
    model = BertForSequenceClassification.from_pretrained(
        encoder, id2label=names, label2id={name: index for index, name in names.items()}
    )
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    texts, lengths = requests["text"].to_numpy(), requests["text"].str.len().to_numpy()
    gold = torch.tensor([model.config.label2id[intent] for intent in requests["intent"]])

    def loss_at(step: int) -> torch.Tensor:
        epoch, place = divmod(step, math.ceil(len(texts) / training.batch))
        rows = make_batches(lengths, training.batch, np.random.default_rng([training.seed, epoch]))[place]
        torch.manual_seed(int(np.random.SeedSequence([training.seed, step]).generate_state(1, np.uint64)[0]))
        return model(**encode(tokenizer, texts[rows]), labels=gold[rows]).loss

    digest = hashlib.sha256(f"{labels} {requests.to_json()}".encode()).hexdigest()[:16]
    return model, tokenizer, run_training(training, model, loss_at, on_step, checkpoint_every, requests=digest)


@torch.inference_mode()
def measure_accuracy(
    model: BertForSequenceClassification, tokenizer: PreTrainedTokenizerBase, requests: pd.DataFrame
) -> float:
    """Share of the requests whose intent is the likeliest output."""
    ordered = requests.sort_values("text", key=lambda texts: texts.str.len())
    batches = [ordered["text"][start : start + 100] for start in range(0, len(ordered), 100)]
    outputs = [output for texts in batches for output in model(**encode(tokenizer, texts)).logits.argmax(-1).tolist()]
    return float(np.mean(ordered["intent"] == [model.config.id2label[output] for output in outputs]))
