"""What a search keeps of each family: its default and its best, of which one stands for it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.config.sections import Family
from pipeline.errors import SearchError
from pipeline.models.ensemble import is_close, row_losses
from pipeline.results import Probabilities, Trial
from pipeline.tuning.trial import Outcome, Task, evaluate

STANDARD_ERRORS = 2  # that a default may be worse than its family's best


class Choice(NamedTuple):
    """A trial and its out-of-fold predictions."""

    trial: Trial
    out_of_fold: Probabilities


class Kept:
    """The default and the best of each family among the outcomes so far."""

    def __init__(self, families: Sequence[Family]) -> None:
        self.families = families
        self.defaults: dict[Family, Outcome] = {}
        self.best: dict[Family, Outcome] = {}

    def takes(self, outcome: Outcome) -> bool:
        """Whether it is its family's default, or the best so far; of equals the earlier is."""
        trial = outcome.trial
        if trial.error:
            return False
        is_default = self.families[trial.number : trial.number + 1] == (trial.family,)
        if is_default:
            self.defaults[trial.family] = outcome
        known = self.best.get(trial.family)
        is_best = known is None or _rank(trial) < _rank(known.trial)
        if is_best:
            self.best[trial.family] = outcome
        return is_default or is_best

    def chosen(self, task: Task) -> dict[Family, Choice]:
        """What stands for each family, the lowest loss first.

        That is the best trial, or the default where it is no more than two standard errors
        worse: the best of many tries is partly the luckiest.
        """
        codes = np.unique(task.y, return_inverse=True)[1]
        chosen: dict[Family, Choice] = {}
        for family, outcome in self.best.items():
            best = _choice(task, outcome)
            default = _choice(task, self.defaults.get(family, outcome))
            as_good = is_close(_losses(default, codes), _losses(best, codes), STANDARD_ERRORS)
            chosen[family] = default if as_good else best
        return dict(sorted(chosen.items(), key=lambda item: _rank(item[1].trial)))


def _rank(trial: Trial) -> tuple[float, int]:
    return trial.loss, trial.number


def _choice(task: Task, outcome: Outcome) -> Choice:
    """With its predictions, made once more if an earlier search kept none."""
    trial, predicted = outcome.trial, outcome.out_of_fold
    if predicted is None:
        predicted = evaluate(task, trial.number, trial.family, trial.params).out_of_fold
    if predicted is None:
        raise SearchError(
            f"trial {trial.number} of an earlier run has lost its predictions and cannot be "
            "repeated; run with --fresh"
        )
    return Choice(trial, predicted)


def _losses(choice: Choice, codes: NDArray[np.intp]) -> NDArray[np.float64]:
    return row_losses(choice.out_of_fold[np.arange(len(codes)), codes])
