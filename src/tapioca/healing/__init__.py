"""Train a pruned model, so that it recovers what dropping layers cost."""
