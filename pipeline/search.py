"""hyperopt's fmin over the model families: each default first, then TPE."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf, log
from typing import Any

import numpy as np
from hyperopt import STATUS_FAIL, STATUS_OK, Trials, fmin, hp, space_eval, tpe
from hyperopt.base import spec_from_misc, trials_from_docs
from hyperopt.exceptions import AllTrialsFailed
from hyperopt.fmin import fmin_pass_expr_memo_ctrl

from pipeline import models
from pipeline.config import Tune
from pipeline.results import Params
from pipeline.trials import Outcome, Task, evaluator

AHEAD = 4  # trials in the air: the same on any machine, so the search is too


def search(task: Task, tune: Tune, on_outcome: Callable[[Outcome], None]) -> None:
    """Runs the search; `on_outcome` gets each trial as it ends, in the order of suggestion.

    The result depends on the seed and the data, and on the number of workers only where
    there are more than four.
    """
    space = _space(tune)
    with evaluator(task, tune) as (start, workers):
        ahead = _Ahead(space, tune, start, window=max(AHEAD, workers))

        @fmin_pass_expr_memo_ctrl  # type: ignore[untyped-decorator]
        def objective(expr: Any, memo: Any, ctrl: Any) -> dict[str, Any]:
            outcome = ahead.result(ctrl.current_trial["tid"])
            on_outcome(outcome)
            if outcome.trial.error:
                return {"status": STATUS_FAIL, "loss": None}
            return {"status": STATUS_OK, "loss": outcome.trial.loss}

        with suppress(AllTrialsFailed):  # each has told why
            fmin(
                objective,
                space,
                algo=ahead.suggest,
                max_evals=tune.max_evals,
                timeout=tune.timeout,
                trials=Trials(),
                rstate=np.random.default_rng(tune.seed),
                early_stop_fn=_no_progress(tune.patience) if tune.patience else None,
                return_argmin=False,
            )


class _Ahead:
    """Suggests trials a window ahead of hyperopt's loop and starts each at once.

    Trial n is suggested when trial n - window has ended, whatever has ended besides: workers
    never wait for a batch to fill, and the same seed gives the same search.
    """

    def __init__(
        self, space: Any, tune: Tune, start: Callable[..., Callable[[], Outcome]], window: int
    ) -> None:
        self.space = space
        self.defaults = _default_points(tune)
        self.most = tune.max_evals
        self.start = start
        self.window = window
        self.suggested: list[dict[str, Any]] = []
        self.pending: dict[int, Callable[[], Outcome]] = {}

    def suggest(self, new_ids: list[int], domain: Any, trials: Trials, seed: int) -> Any:
        """Hyperopt's `algo`: the next trial's document."""
        (number,) = new_ids
        for ahead in range(len(self.suggested), min(number + self.window, self.most)):
            # Trials in the air count as seen and poor: TPE does not suggest them once more.
            known = trials_from_docs([*trials.trials, *self.suggested[number:]], validate=False)
            doc = self._document(ahead, domain, known, seed + ahead)
            self.suggested.append(doc)
            point = space_eval(self.space, spec_from_misc(doc["misc"]))
            self.pending[ahead] = self.start(ahead, point)
        return [self.suggested[number]]

    def result(self, number: int) -> Outcome:
        """The outcome of a suggested trial, as soon as it is there."""
        return self.pending.pop(number)()

    def _document(self, number: int, domain: Any, trials: Trials, seed: int) -> dict[str, Any]:
        if number < len(self.defaults):
            suggest = partial(_as_suggested, self.defaults[number])
        else:
            suggest = partial(tpe.suggest, verbose=False)
        (document,) = suggest([number], domain, trials, seed)
        return dict(document)


def _as_suggested(point: Params, new_ids: list[int], domain: Any, trials: Trials, seed: int) -> Any:
    """A given point as a trial document; a label that it lacks has empty lists, not no entry."""
    (number,) = new_ids
    misc = {
        "tid": number,
        "cmd": domain.cmd,
        "workdir": domain.workdir,
        "idxs": {label: [number] if label in point else [] for label in domain.params},
        "vals": {label: [point[label]] if label in point else [] for label in domain.params},
    }
    return trials.new_trial_docs([number], [None], [domain.new_result()], [misc])


def _no_progress(patience: int) -> Callable[..., tuple[bool, list[Any]]]:
    """Stops after that many trials without a better one.

    hyperopt's own `no_progress_loss` counts the first trial as one without progress.
    """

    def stop(trials: Trials, *_: Any) -> tuple[bool, list[Any]]:
        losses = [inf if loss is None else loss for loss in trials.losses()]
        return len(losses) - 1 - int(np.argmin(losses)) >= patience, []

    return stop


def _space(tune: Tune) -> Any:
    branches = []
    for family in tune.families:
        dimensions = {
            name: _dimension(f"{family}.{name}", *next(iter(dimension.items())))
            for name, dimension in models.MODELS[family].space.items()
        }
        branches.append({"family": family, "params": dimensions})
    return hp.choice("family", branches)


def _dimension(label: str, distribution: str, bounds: list[Any]) -> Any:
    match distribution:
        case "choice":
            return hp.choice(label, bounds)
        case "loguniform":
            return hp.loguniform(label, *map(log, bounds))
        case _:
            return getattr(hp, distribution)(label, *bounds)


def _default_points(tune: Tune) -> list[Params]:
    """Hyperopt's labels and values of each family's default."""
    points = []
    for place, family in enumerate(tune.families):
        model = models.MODELS[family]
        point: Params = {"family": place}
        for name, value in model.default.items():
            options = model.space[name].get("choice")
            point[f"{family}.{name}"] = options.index(value) if options else value
        points.append(point)
    return points
