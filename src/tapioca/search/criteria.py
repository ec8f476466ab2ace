"""The ways a plan can be chosen, by name."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from tapioca.errors import UsageError
from tapioca.plan import BRANCHES, BranchName
from tapioca.registry import Registry
from tapioca.search.base import PlanSearch
from tapioca.search.one_shot import drop_best_block, drop_by_effect, drop_contiguous, drop_last, drop_lowest
from tapioca.search.population import MAX_LAYERS, search_by_evolution, search_exhaustively, search_randomly
from tapioca.search.repeats import search_repeats
from tapioca.search.stepwise import beam, greedy, greedy_of_shortlist, greedy_with_swaps, list_branch_drops

UnlabelledGuide = Literal[
    "geometry", "geometry-unit", "mahalanobis", "agreement", "entropy", "margin", "faithful", "proxy", "linear"
]
"""What guides a choice and reads no answer to OOD data, the number of drops included
(`session.without_labels.score_without_labels` says what each is)."""

OtherGuide = Literal["score", "likelihood", "text", "states", "gradients", "nothing"]

Guide = OtherGuide | UnlabelledGuide
"""What guides a choice: the task's score, the gold answers' likelihood, the likelihood of the prompts' own tokens,
the similarity of hidden states, the gradients of the gold answers' likelihood by the layers' scales, nothing at all, or what
can be said of plans without labels."""

UNLABELLED: tuple[UnlabelledGuide, ...] = get_args(UnlabelledGuide)
GUIDES: tuple[Guide, ...] = (*get_args(OtherGuide), *UNLABELLED)

LOSSES: tuple[UnlabelledGuide, ...] = ("faithful", "linear")
"""Guides that say how little is lost, so that nothing is better than the full model: by them the largest plan is taken that is
faithful enough, by others the best."""

OOD_LABELS = "OOD labels"
"""What is read where answers to OOD search data are."""

READS: dict[Guide, tuple[str, ...]] = {
    **dict.fromkeys(("score", "likelihood", "gradients"), (OOD_LABELS,)),
    **dict.fromkeys(("text", "states", "agreement", "entropy", "margin", "proxy", "linear"), ("OOD inputs",)),
    **dict.fromkeys(("geometry", "geometry-unit", "mahalanobis"), ("OOD inputs", "ID inputs")),
    "faithful": ("ID inputs",),
    "nothing": (),
}
"""What of the search data each guide reads."""

PASSES: dict[Guide, float] = {"states": 1.0, "gradients": 2.0}
"""Passes of the full model before the first question: one that reads states; one forward, and one backward, which computes
the gradients of states and none of weights."""


PASSES_A_PLAN: dict[Guide, float] = {"agreement": 2.0, "proxy": 0.5, "faithful": 0.0, "linear": 0.0}
"""How often a plan reads the OOD search data to be scored by a guide without labels, where that is not once."""


@dataclass(frozen=True)
class Criterion:
    """One way to choose a plan.

    Attributes:
        about: what it does, in a few words.
        source: where it comes from; empty for the obvious ones.
        guide: what it looks at.
        choose: its search.
        branches: the branches it drops; empty where it drops whole layers.
        repeats: whether it drops nothing and repeats layers; asked for by name alone.
        most_layers: of the largest model it is for.
        stops_at_floor: whether a run lets it go on to TALE's floor (`search.floor`) instead of to a number of drops; its
            every round then adds one drop to a plan of the round before.
        shortlist: how many drops it scores a round, in the first those that gradients rank first; None scores all.
    """

    about: str
    source: str
    guide: Guide
    choose: PlanSearch
    branches: tuple[BranchName, ...] = ()
    repeats: bool = False
    most_layers: int | None = None
    stops_at_floor: bool = False
    shortlist: int | None = None

    def __post_init__(self) -> None:
        if self.guide not in GUIDES or not set(self.branches) <= set(BRANCHES):
            raise UsageError(
                f"a criterion of guide {self.guide!r} and branches {self.branches}; expected a guide of "
                f"{', '.join(GUIDES)}, and branches of {', '.join(BRANCHES)}"
            )
        if self.stops_at_floor and self.guide != "score":
            raise UsageError(
                f"a criterion that stops at a floor of scores, guided by {self.guide}; expected guide score"
            )

    @property
    def measured(self) -> Guide | None:
        """What passes of the full model (`PASSES`) measure before the first question; None where none is made."""
        return "gradients" if self.shortlist else self.guide if self.guide in PASSES else None

    @property
    def reads_labels(self) -> bool:
        """Whether answers to OOD search data decide which plan `prune` takes, if by its number of drops alone."""
        return self.guide not in UNLABELLED

    @property
    def reads(self) -> tuple[str, ...]:
        """What of the search data it reads to choose a plan of a given number of drops."""
        return READS[self.guide]

    def __str__(self) -> str:
        """What it does, and where it comes from."""
        return f"{self.about} ({self.source})" if self.source else self.about


OWN_CRITERIA = {
    "tale": Criterion("greedy by the task's score", "TALE, arXiv 2510.22767", "score", greedy(), stops_at_floor=True),
    "likelihood": Criterion("greedy by the gold answers' likelihood", "", "likelihood", greedy()),
    "sleb": Criterion("greedy by the perplexity of the prompts' tokens", "SLEB, arXiv 2402.09025", "text", greedy()),
    "swap": Criterion("tale, then swaps of dropped with kept layers", "", "score", greedy_with_swaps),
    "beam": Criterion("tale with the 4 best plans kept", "", "score", beam()),
    "evolution": Criterion(
        "swap mutations, selection in two steps", "EvoPress, arXiv 2410.14649", "score", search_by_evolution
    ),
    "exhaustive": Criterion("the best of all plans", "", "score", search_exhaustively, most_layers=MAX_LAYERS),
    "random": Criterion("the best of some random plans", "", "score", search_randomly),
    "attention": Criterion(
        "greedy over attention branches", "", "score", greedy(list_branch_drops("attention")), branches=("attention",)
    ),
    "mlp": Criterion("greedy over MLP branches", "", "score", greedy(list_branch_drops("mlp")), branches=("mlp",)),
    "mixed": Criterion(
        "greedy over both kinds of branches", "", "score", greedy(list_branch_drops(*BRANCHES)), branches=BRANCHES
    ),
    "shortgpt": Criterion("lowest block influence", "ShortGPT, arXiv 2403.03853", "states", drop_lowest("influence")),
    "angular": Criterion(
        "block of smallest angular distance", "Gromov et al., arXiv 2403.17887", "states", drop_contiguous
    ),
    "magnitude": Criterion("lowest relative magnitude", "arXiv 2312.09299", "states", drop_lowest("magnitude")),
    "taylor": Criterion(
        "least loss to first order", "after Molchanov et al., arXiv 1906.10771", "gradients", drop_by_effect("layers")
    ),
    "taylor-mixed": Criterion(
        "taylor over both kinds of branches", "", "gradients", drop_by_effect(*BRANCHES), branches=BRANCHES
    ),
    "last": Criterion("the last layers", "", "nothing", drop_last),
    "repeat": Criterion(
        "the block of layers that is best run twice, of all of its length", "", "score", search_repeats, repeats=True
    ),
    "geometry": Criterion("greedy by how close OOD norms and distances come to ID ones", "", "geometry", greedy()),
    "geometry-unit": Criterion("the same of states of unit length, by distances", "", "geometry-unit", greedy()),
    "mahalanobis": Criterion("greedy by how close last OOD states come to ID ones", "", "mahalanobis", greedy()),
    "agreement": Criterion("greedy by how answers agree where the request is changed", "", "agreement", greedy()),
    "entropy": Criterion("greedy by how low the entropy of answers is", "", "entropy", greedy()),
    "margin": Criterion("greedy by how far the answer leads the next", "", "margin", greedy()),
    "faithful": Criterion("greedy by how little answers to ID requests change", "", "faithful", greedy()),
    "proxy": Criterion("greedy by the likelihood of the full model's sure answers", "", "proxy", greedy()),
    "linear": Criterion("the block that one linear map replaces best", "", "linear", drop_best_block),
}


def shorten_rounds(tale: Criterion, count: int) -> Criterion:
    """TALE's criterion where only `count` drops a round are scored."""
    about = f"{tale.about}, {count} drops a round"
    return replace(tale, about=about, choose=greedy_of_shortlist(count), shortlist=count)


CRITERIA = Registry("criterion", "tapioca.criteria", Criterion, OWN_CRITERIA, reserved="all")


def register_criterion(name: str, criterion: Criterion) -> None:
    """Let a criterion be named in this process, as `criterion` of `prune` and among the `criteria` of `compare`.

    A package names its own by an entry point of the group `tapioca.criteria` instead, for the command line too.

    Raises:
        UsageError: the name is taken or cannot be used, or the other is no `Criterion`.
    """
    CRITERIA.register(name, criterion)
