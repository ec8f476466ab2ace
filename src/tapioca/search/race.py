"""Stop plans that can no longer win, or hardly: after every look at the scores so far."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

DELTA = 0.05
"""Probability that a round's best plan is stopped, where a race is asked for."""

STAKES = np.geomspace(0.01, 0.95, 16)
"""Shares of the largest bet that keeps capital positive; the capital is spread evenly over them."""


class Race:
    """Which of several plans may still have the highest mean over a finite set of examples.

    For every pair of plans a gambler bets that the first is better than the second, on the differences of their
    scores, drawn without replacement. If the second is at least as good over all examples, the gambler's capital is a
    nonnegative supermartingale that starts at 1, and by Ville's inequality it ever reaches 1/alpha with probability
    alpha at most (Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", arXiv 2010.09686,
    section 5; "Confidence sequences for sampling without replacement", arXiv 2006.04347). So one may look after every
    example. With alpha = delta / (plans - 1), the plan that is best over all examples is ever stopped with probability
    delta at most, whatever the scores. A plan that cannot catch up even if it wins all that is left is stopped for
    certain; with delta = 0 nothing else is, and no decision changes.

    Args:
        examples: how many there are in all.
        bound: largest difference of two scores on one example; larger differences are cut to it.
        delta: probability that the best plan is stopped, over all plans and looks.

    The scores must come in a random order for delta > 0; for delta = 0 any order will do.
    """

    def __init__(self, plans: int, examples: int, bound: float = 1.0, delta: float = 0.0):
        self.examples, self.bound, self.delta = examples, bound, delta
        self.running = np.arange(plans)
        self._seen = 0
        self._lead = np.zeros((plans, plans))  # sum of differences, row minus column
        self._capital = np.zeros((plans, plans, len(STAKES)))  # its logarithm

    def look(self, scores: np.ndarray) -> np.ndarray:
        """Take the next scores and say which plans go on.

        Args:
            scores: float64 of shape (running plan, new example), in the order drawn.

        Returns:
            Numbers of the plans still running, ascending. At least one always is.
        """
        at = np.ix_(self.running, self.running)
        lead, capital = self._lead[at], self._capital[at]
        for drawn in scores.T:
            difference = np.clip(drawn[:, None] - drawn[None, :], -self.bound, self.bound)
            if self.delta:
                capital += self._growth(lead, difference)
            lead += difference
            self._seen += 1
        self._lead[at], self._capital[at] = lead, capital
        beaten = lead > self.bound * (self.examples - self._seen)
        if self.delta and len(self._lead) > 1:
            needed = np.log((len(self._lead) - 1) / self.delta)
            beaten |= logsumexp(capital, axis=-1) - np.log(len(STAKES)) >= needed
        # the best so far always stays, so that two plans cannot stop each other
        beaten[:, lead.sum(1).argmax()] = False
        self.running = self.running[~beaten.any(0)]
        return self.running

    def _growth(self, lead: np.ndarray, difference: np.ndarray) -> np.ndarray:
        """Growth of the logarithm of a gambler's capital under each stake, shape (plan, plan, stake).

        If the mean of all differences were 0, the mean of those not drawn yet would be `fair`. No bet loses more than
        95 % of the capital.
        """
        fair = -lead / (self.examples - self._seen)
        room = np.maximum(fair + self.bound, 1e-9)
        return np.log1p(STAKES * ((difference - fair) / room)[..., None])
