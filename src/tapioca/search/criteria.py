"""The ways a plan can be chosen, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tapioca.records import BranchName
from tapioca.registry import Registry
from tapioca.search.base import Choose
from tapioca.search.one_shot import contiguous, last, lowest
from tapioca.search.population import MOST_LAYERS, evolution, exhaustive, random
from tapioca.search.stepwise import beam, branch_drops, greedy, swap

Guide = Literal["score", "likelihood", "text", "states", "nothing"]
"""What guides a choice: the task's score, the gold answers' likelihood, the likelihood of the prompts' own tokens,
the similarity of hidden states, or nothing at all."""


@dataclass(frozen=True)
class Criterion:
    """One way to choose a plan.

    Attributes:
        about: what it does, in a few words.
        source: where it comes from; empty for the obvious ones.
        guide: what it looks at.
        choose: its search.
        branches: the branches it drops; empty where it drops whole layers.
        most_layers: of the largest model it is for.
    """

    about: str
    source: str
    guide: Guide
    choose: Choose
    branches: tuple[BranchName, ...] = ()
    most_layers: int | None = None

    def __str__(self) -> str:
        """What it does, and where it comes from."""
        return f"{self.about} ({self.source})" if self.source else self.about


CRITERIA = Registry(
    "criterion",
    {
        name: f"tapioca.search.criteria:{name.upper()}"
        for name in (
            "tale",
            "likelihood",
            "sleb",
            "swap",
            "beam",
            "evolution",
            "exhaustive",
            "random",
            "attention",
            "mlp",
            "mixed",
            "shortgpt",
            "angular",
            "magnitude",
            "last",
        )
    },
)

TALE = Criterion("greedy by the task's score", "TALE, arXiv 2510.22767", "score", greedy())
LIKELIHOOD = Criterion("greedy by the gold answers' likelihood", "", "likelihood", greedy())
SLEB = Criterion("greedy by the perplexity of the prompts' tokens", "SLEB, arXiv 2402.09025", "text", greedy())
SWAP = Criterion("tale, then swaps of dropped with kept layers", "", "score", swap)
BEAM = Criterion("tale with the 4 best plans kept", "", "score", beam())
EVOLUTION = Criterion("swap mutations, selection in two steps", "EvoPress, arXiv 2410.14649", "score", evolution)
EXHAUSTIVE = Criterion("the best of all plans", "", "score", exhaustive, most_layers=MOST_LAYERS)
RANDOM = Criterion("the best of some random plans", "", "score", random)
ATTENTION = Criterion(
    "greedy over attention branches", "", "score", greedy(branch_drops("attention")), branches=("attention",)
)
MLP = Criterion("greedy over MLP branches", "", "score", greedy(branch_drops("mlp")), branches=("mlp",))
MIXED = Criterion(
    "greedy over both kinds of branches",
    "",
    "score",
    greedy(branch_drops("attention", "mlp")),
    branches=("attention", "mlp"),
)
SHORTGPT = Criterion("lowest block influence", "ShortGPT, arXiv 2403.03853", "states", lowest("influence"))
ANGULAR = Criterion("block of smallest angular distance", "Gromov et al., arXiv 2403.17887", "states", contiguous)
MAGNITUDE = Criterion("lowest relative magnitude", "arXiv 2312.09299", "states", lowest("magnitude"))
LAST = Criterion("the last layers", "", "nothing", last)
