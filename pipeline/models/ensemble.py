"""The blend of the families: how much each weighs in it, and the model of the weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import VotingClassifier, VotingRegressor

from pipeline.evaluation.metrics import NO_METADATA, ROW_LOSSES, mean, row_losses
from pipeline.results import Metadata, Outputs
from pipeline.tasks import AMOUNT, BINARY, CLASSIFICATION, Family, Task, TaskName

Losses = Callable[[NDArray[np.float64]], NDArray[np.float64]]
MOST_STEPS = 200
LEAST_GAIN = (
    1e-6  # in log loss, or in variances of the target; below it, the search has come to rest
)
STANDARD_ERRORS = 0.5


def select_weights(
    out_of_fold: dict[Family, Outputs],
    truth: NDArray[Any],
    metadata: Metadata = NO_METADATA,
    task: Task = BINARY,
) -> dict[Family, float]:
    """Ensemble selection with replacement (Caruana et al. 2004), for the lowest log loss.

    Of amounts it is for the lowest squared error, in variances of the target.

    It starts from one copy of each family and adds or takes away one copy at a time, so a
    family that does not help ends with no weight and one that dominates can have it all. Of the
    blends on that path it takes the first that is no more than half a standard error worse than
    the last, after the one-standard-error rule of Breiman et al. (1984, section 3.4.3): gains
    smaller than that are mostly noise of these rows. Of the rules that are compared nested in
    benchmarks/selection_rules.py it has the lowest mean loss, and on no table is it
    significantly worse than the best family alone; two standard errors stay near the plain mean
    on small tables, whatever suits them. `truth` holds the amounts, or
    the places of the true classes; the weights sum to 1. Without any row they are equal.
    """
    names = list(out_of_fold)
    if not len(truth):
        return dict.fromkeys(names, 1 / len(names))
    row_loss = ROW_LOSSES[task.name]
    # rows x families: what each family gives the true class, or by how much it errs
    of_truth = np.stack([row_loss.linear(out_of_fold[name], truth) for name in names], axis=1)
    of_truth = of_truth / row_loss.scale(truth)
    path = selection_path(of_truth, metadata.sample_weight, row_loss.loss)
    last = _losses(of_truth, path[-1], row_loss.loss)
    counts = next(
        counts
        for counts in path
        if is_close(_losses(of_truth, counts, row_loss.loss), last, STANDARD_ERRORS, metadata)
    )
    return dict(zip(names, (counts / counts.sum()).tolist(), strict=True))


def selection_path(
    of_truth: NDArray[np.float64],
    sample_weight: NDArray[np.float64] | None = None,
    row_losses: Losses = row_losses,
) -> list[NDArray[np.float64]]:
    """Copies of each family, from one each to where no single step lowers the mean loss.

    `of_truth` is what each family gives the true class of each row, rows x families, or whatever
    else `row_losses` takes; `sample_weight` is of the rows.
    """
    count = of_truth.shape[1]
    steps = np.repeat(np.eye(count), 2, axis=0) * np.tile([1, -1], count)[:, None]
    path = [np.ones(count)]
    loss = mean(_losses(of_truth, path[0], row_losses), sample_weight)
    for _ in range(MOST_STEPS):
        moves = path[-1] + steps
        moves = moves[(moves.min(axis=1) >= 0) & (moves.sum(axis=1) > 0)]
        by_row = row_losses(of_truth @ (moves / moves.sum(axis=1, keepdims=True)).T)
        losses = (
            by_row.mean(axis=0)
            if sample_weight is None
            else np.average(by_row, axis=0, weights=sample_weight)
        )
        best = int(np.argmin(losses))
        if losses[best] > loss - LEAST_GAIN:
            break
        path.append(moves[best])
        loss = losses[best]
    return path


def _losses(
    of_truth: NDArray[np.float64], counts: NDArray[np.float64], row_losses: Losses
) -> NDArray[np.float64]:
    return row_losses(of_truth @ (counts / counts.sum()))


def is_close(
    losses: NDArray[np.float64],
    best: NDArray[np.float64],
    standard_errors: float,
    metadata: Metadata = NO_METADATA,
) -> bool:
    """Whether losses on the same rows are no more than that much worse on average.

    `standard_errors` counts in standard errors of the mean of the rows' differences; with groups
    or weights, of the ratio of the groups' sums (Cochran 1977, section 6.3).
    """
    worse_by = losses - best
    sample_weight, codes = metadata.sample_weight, metadata.group_codes
    if sample_weight is None and codes is None:
        error = worse_by.std(ddof=1) / np.sqrt(len(worse_by))
        return bool(worse_by.mean() <= standard_errors * error)
    counts = np.ones(len(worse_by)) if sample_weight is None else sample_weight
    average = np.average(worse_by, weights=counts)
    by_row = counts * (worse_by - average)
    sums = by_row if codes is None else np.bincount(codes, by_row).astype(float)
    error = np.sqrt((sums**2).sum() * len(sums) / max(len(sums) - 1, 1)) / counts.sum()
    return bool(average <= standard_errors * error)


def mix(out_of_fold: dict[Family, Outputs], weights: dict[Family, float]) -> Outputs:
    """The weighted mean of the families' probabilities or amounts."""
    return np.asarray(sum(weights[name] * out_of_fold[name] for name in weights))


def assemble(task: Task, members: dict[Family, Any], weights: dict[Family, float]) -> Any:
    """The unfitted model of the members by their weights; a member alone is the model itself."""
    if len(members) == 1:
        return next(iter(members.values()))
    return ENSEMBLES[task.name](list(members.items()), [weights[family] for family in members])


def _soft_vote(members: list[tuple[Family, Any]], weights: list[float]) -> VotingClassifier:
    return VotingClassifier(members, voting="soft", weights=weights)


def _weighted_mean(members: list[tuple[Family, Any]], weights: list[float]) -> VotingRegressor:
    return VotingRegressor(members, weights=weights)


ENSEMBLES: dict[TaskName, Callable[[list[tuple[Family, Any]], list[float]], Any]] = {
    **dict.fromkeys(CLASSIFICATION, _soft_vote),
    **dict.fromkeys(AMOUNT, _weighted_mean),
}
