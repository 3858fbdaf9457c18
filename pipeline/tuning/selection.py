"""Which trial stands for each family: its default or its best."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.errors import SearchError
from pipeline.evaluation.cross_validation import predicted_rows
from pipeline.evaluation.metrics import ROW_LOSSES, truth_of
from pipeline.models.ensemble import is_close
from pipeline.results import Outputs, Trial
from pipeline.tasks import Family
from pipeline.tuning.trial import TrialInputs, TrialResult, evaluate

STANDARD_ERRORS = 2  # that a default may be worse than its family's best


class SelectedTrial(NamedTuple):
    """A trial and its out-of-fold predictions."""

    trial: Trial
    out_of_fold: Outputs


class Selection:
    """The default and the best trial of each family so far."""

    def __init__(self, families: Sequence[Family]) -> None:
        self.families = families
        self.defaults: dict[Family, TrialResult] = {}
        self.best: dict[Family, TrialResult] = {}

    def add(self, result: TrialResult) -> bool:
        """Takes a trial in; whether it is its family's default, or its best so far.

        Of trials of equal loss the earlier is better.
        """
        trial = result.trial
        if trial.error:
            return False
        is_default = self.families[trial.number : trial.number + 1] == (trial.family,)
        if is_default:
            self.defaults[trial.family] = result
        best = self.best.get(trial.family)
        is_best = best is None or _rank(trial) < _rank(best.trial)
        if is_best:
            self.best[trial.family] = result
        return is_default or is_best

    def choose(self, inputs: TrialInputs) -> dict[Family, SelectedTrial]:
        """The trial that stands for each family, the lowest loss first.

        That is the best trial, or the default where it is no more than two standard errors
        worse: the best of many tries is partly the luckiest. Rows in no test fold do not count.
        """
        rows = predicted_rows(inputs.folds, len(inputs.y))
        truth, row_losses = truth_of(inputs.y)[rows], ROW_LOSSES[inputs.task.name]
        metadata = inputs.metadata.where(rows)
        chosen: dict[Family, SelectedTrial] = {}
        for family, result in self.best.items():
            best = _selected(inputs, result)
            default = _selected(inputs, self.defaults.get(family, result))
            losses, lowest = (row_losses(one.out_of_fold[rows], truth) for one in (default, best))
            is_default = is_close(losses, lowest, STANDARD_ERRORS, metadata)
            chosen[family] = default if is_default else best
        return dict(sorted(chosen.items(), key=lambda item: _rank(item[1].trial)))


def _rank(trial: Trial) -> tuple[float, int]:
    return trial.loss, trial.number


def _selected(inputs: TrialInputs, result: TrialResult) -> SelectedTrial:
    """The trial with its predictions, made once more if an earlier search stored none."""
    trial, predicted = result.trial, result.out_of_fold
    if predicted is None:
        predicted = evaluate(inputs, trial.number, trial.family, trial.params).out_of_fold
    if predicted is None:
        raise SearchError(
            f"trial {trial.number} of an earlier run has lost its predictions and cannot be "
            "repeated; run with --fresh"
        )
    return SelectedTrial(trial, predicted)
