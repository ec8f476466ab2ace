"""Train a pruned model, so that it recovers what dropping layers cost."""

import logging

# transformers' Trainer and peft import it where it is installed, and it warns of kernels that nothing here uses
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
