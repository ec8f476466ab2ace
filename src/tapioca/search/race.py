"""Stop plans that can no longer win, or hardly: after every look at the scores so far."""

import numpy as np

DELTA = 0.05
"""Probability that a round's best plan is stopped, where a race is asked for."""

MAX_STAKE = 0.75
"""Largest share of its capital that a bet may lose."""

SUM_ROUNDING = 1e-9
"""So that sums which rounding alone keeps apart are equal; a share of the largest sum there can be."""

UNCUT_SHARE = 0.99
"""Share of the differences between plans known beforehand that are not cut, where scores have no bounds."""


class Race:
    """Which of several plans may still have the highest mean over a finite set of examples.

    Against every plan a gambler bets that another is better: on each new example, on the difference of the scores of
    whichever plan leads it most so far. If no other plan is better over all examples, each difference, drawn without
    replacement, has a conditional mean of at most what would make the sum over all examples 0; so the gambler's capital,
    which starts at 1, is a nonnegative supermartingale, whichever rival and stake are chosen from what was drawn
    before. By Ville's inequality it ever reaches 1/delta with probability delta at most (Waudby-Smith & Ramdas,
    "Estimating means of bounded random variables by betting", arXiv 2010.09686, section 5; "Confidence sequences
    for sampling without replacement", arXiv 2006.04347). One test speaks for all rivals and one may look after every
    example, so the plan that is best over all examples is ever stopped with probability delta at most, whatever the
    scores. The stake follows the mean and the mean square of the differences so far, the first paper's approximation of
    the bet under which capital grows fastest (aGRAPA, appendix B).

    A plan that cannot catch up even if it wins all that is left is stopped for certain; with delta = 0 nothing else is,
    and no decision changes.

    Where scores have no bounds, differences beyond a bound are cut to it. All the above then holds for means of cut
    differences, which give no order: a plan is protected if no other is better than it in the mean of their cut
    differences, and there may be no such plan. The bound must be fixed before the first example is drawn, by what does not
    depend on their order.

    Args:
        examples: how many there are in all.
        bound: largest difference of two scores on one example; larger differences are cut to it.
        delta: probability that the best plan is stopped, over all rivals and looks.
        weights: of all examples in the order drawn, by which differences are multiplied, with a mean of 1; None where
            all are equal.

    The scores must come in a random order for delta > 0; for delta = 0 any order will do.
    """

    def __init__(
        self, plans: int, examples: int, bound: float = 1.0, delta: float = 0.0, weights: np.ndarray | None = None
    ):
        self.examples, self.bound, self.delta = examples, bound, delta
        self.weights = np.ones(examples) if weights is None else weights
        self.running = np.arange(plans)
        self._seen = 0
        self._lead = np.zeros((plans, plans))  # sum of differences, row minus column
        self._squares = np.zeros((plans, plans))  # sum of their squares
        self._capital = np.zeros(plans)  # logarithm of what was won against each plan

    def look(self, scores: np.ndarray) -> np.ndarray:
        """Take the next scores and say which plans go on.

        Args:
            scores: float64 of shape (running plan, new example), in the order drawn.

        Returns:
            Numbers of the plans still running, ascending. At least one always is.
        """
        running_pairs = np.ix_(self.running, self.running)
        lead, squares = self._lead[running_pairs], self._squares[running_pairs]
        for example_scores in scores.T:
            weighted_difference = self.weights[self._seen] * (example_scores[:, None] - example_scores[None, :])
            difference = np.clip(weighted_difference, -self.bound, self.bound)
            if self.delta and len(lead) > 1:
                self._capital[self.running] += self._growth(lead, squares, difference)
            lead += difference
            squares += difference**2
            self._seen += 1
        self._lead[running_pairs], self._squares[running_pairs] = lead, squares
        largest_gain = self.bound * (self.examples - self._seen + SUM_ROUNDING * self.examples)
        beaten: np.ndarray = np.any(lead > largest_gain, axis=0)
        if self.delta:
            beaten |= self._capital[self.running] >= -np.log(self.delta)
        beaten[lead.sum(1).argmax()] = False  # the best so far always stays, so that two plans cannot stop each other
        self.running = self.running[~beaten]
        return self.running

    def _growth(self, lead: np.ndarray, squares: np.ndarray, difference: np.ndarray) -> np.ndarray:
        """Growth of the logarithm of the capital won against each plan by one more example, shape (plan,).

        If the sum of all differences were 0, the mean of those not drawn yet would be `fair`. The moments begin with one
        difference of 0 whose square is a quarter of the bound's.
        """
        plans = np.arange(len(lead))
        rival = np.where(np.eye(len(lead), dtype=bool), -np.inf, lead).argmax(0)
        rival_lead, n_drawn = lead[rival, plans], self._seen + 1
        fair = -rival_lead / (self.examples - self._seen)
        mean, square = rival_lead / n_drawn, (squares[rival, plans] + self.bound**2 / 4) / n_drawn
        stake = (mean - fair) / (square - 2 * mean * fair + fair**2)
        max_stake = MAX_STAKE / np.maximum(fair + self.bound, 1e-9 * self.bound)
        return np.log1p(np.clip(stake, 0, max_stake) * (difference[rival, plans] - fair))


def choose_bound(scores: np.ndarray) -> float:
    """A bound for differences of scores that have none: the `UNCUT_SHARE` quantile of those between some plans.

    Args:
        scores: of some plans on all examples, so that nothing tells in which order those are drawn: float64 of shape
            (plan, example), multiplied by the examples' weights.
    """
    first, second = np.triu_indices(len(scores), 1)
    return float(np.quantile(np.abs(scores[first] - scores[second]), UNCUT_SHARE))
