"""What every criterion's search is: a generator that yields questions, is sent scores, and returns its choices."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from tapioca.errors import NonFiniteError, TapiocaError, UsageError, describe_error
from tapioca.plan import BranchName, Grain, Plan
from tapioca.profiles.layer_importance import LayerImportance


@dataclass(frozen=True)
class SearchSpace:
    """What a search may choose from.

    Attributes:
        n_layers: layers of the full model.
        sizes: the numbers of drops, or of layers to repeat, to choose a plan for, ascending.
        droppable: layers that can be dropped whole.
        branches: layers that have an attention or an MLP branch which can be dropped alone.
        seed: of whatever is random.
        repeats: random plans tried for each size.
        similarity: how alike the states before and after each layer are; None where no criterion needs it.
        drop_effects: what dropping each layer, and each branch, would add to the gold answers' log-likelihood to first order,
            by grain float64 of shape (layer,); None where no criterion needs it.
        repeatable: layers that can run twice.
    """

    n_layers: int
    sizes: tuple[int, ...]
    droppable: tuple[int, ...]
    branches: dict[BranchName, tuple[int, ...]]
    seed: int = 0
    repeats: int = 20
    similarity: LayerImportance | None = None
    drop_effects: Mapping[Grain, np.ndarray] | None = None
    repeatable: tuple[int, ...] = ()

    @classmethod
    def of_layers(cls, n_layers: int, droppable: Iterable[int] | None = None, max_drops: int | None = None) -> Self:
        """Whole layers, by default all, for each number of drops up to `max_drops`; one layer always stays."""
        layers = tuple(range(n_layers) if droppable is None else droppable)
        most = min(max_drops or n_layers, n_layers - 1, len(layers))
        return cls(n_layers, tuple(range(1, most + 1)), layers, {}, repeatable=tuple(range(n_layers)))

    def pool(self, grain: Grain) -> tuple[int, ...]:
        """The layers that can be dropped whole, or lose one branch."""
        return self.droppable if grain == "layers" else self.branches.get(grain, ())

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """The sizes that plans of whole layers can have."""
        return tuple(size for size in self.sizes if size <= len(self.droppable))

    @property
    def max_drops(self) -> int:
        """The most drops there can be; one layer always stays."""
        return min(self.n_layers - 1, max(len(self.droppable), *map(len, self.branches.values())))


@dataclass(frozen=True)
class ScoreRequest:
    """Plans to score, on all search examples or on a share of them (the same share is the same examples)."""

    plans: tuple[Plan, ...]
    share: float = 1.0


Picks = dict[int, Plan]
"""The plan chosen for each number of drops (`measure_size`); a number that cannot be had is missing."""


def measure_size(plan: Plan) -> int:
    """How many drops a plan makes, or where it makes none how many layers run a second time."""
    return plan.size or len(plan.order) - len(plan.kept)


SearchSteps = Generator[ScoreRequest, Sequence[float], Picks]
"""A search: it yields questions, is sent one score for each plan asked for, and returns its picks."""

PlanSearch = Callable[[SearchSpace], SearchSteps]


class Search:
    """Ask and tell around a generator of questions.

    search = Search(choose, space)
    while question := search.ask():
        search.tell([score(plan) for plan in question.plans])
    search.picks

    Raises:
        UsageError: the generator fails, or gives something else than questions and picks; it may be another package's.
    """

    def __init__(self, choose: PlanSearch, space: SearchSpace):
        self._choose, self._space, self._title = choose, space, getattr(choose, "__qualname__", repr(choose))
        self._steps: SearchSteps | None = None
        self._question: ScoreRequest | None = None
        self.picks: Picks = {}
        self._advance(None)

    def ask(self) -> ScoreRequest | None:
        """What to score next; None when the search is finished."""
        return self._question

    def tell(self, scores: Sequence[float]) -> None:
        """Take one score (higher is better) for each plan last asked for, in that order.

        Raises:
            UsageError: another number of scores is told than was asked for.
            NonFiniteError: a score is NaN or infinite; nothing is ever ranked on one.
        """
        plans = self._question.plans if self._question else ()
        if len(scores) != len(plans):
            raise UsageError(f"expected scores of the {len(plans)} plans asked for, got {len(scores)}")
        for plan, score in zip(plans, scores, strict=True):
            if not np.isfinite(score):
                raise NonFiniteError(f"the score of plan '{plan}' is {score}; nothing is ranked on it")
        self._advance(scores)

    def _advance(self, scores: Sequence[float] | None) -> None:
        given: object
        try:
            self._steps = self._steps or self._choose(self._space)
            self._question = given = next(self._steps) if scores is None else self._steps.send(scores)
            is_sound = isinstance(given, ScoreRequest) and bool(given.plans) and all(map(self._fits, given.plans))
        except StopIteration as done:
            self._question, self.picks, given = None, done.value, done.value
            is_sound = isinstance(given, dict) and all(
                self._fits(plan) and measure_size(plan) == size and size in self._space.sizes
                for size, plan in given.items()
            )
        except TapiocaError:
            raise
        except Exception as error:  # a search of another package can raise anything
            raise UsageError(f"search {self._title} failed: {describe_error(error)}") from error
        if not is_sound:
            raise UsageError(
                f"search {self._title} gave {' '.join(repr(given).split()):.80}; expected a ScoreRequest with plans of "
                f"{self._space.n_layers} layers, or at the end a plan of each size: {{drops: plan}}"
            )

    def _fits(self, plan: object) -> bool:
        return isinstance(plan, Plan) and plan.n_layers == self._space.n_layers


def rank_plans(plans: Sequence[Plan], scores: Sequence[float]) -> list[Plan]:
    """Plans from the best score to the worst; equal scores stay in the order asked."""
    order = sorted(range(len(plans)), key=lambda index: -scores[index])
    return [plans[index] for index in order]
