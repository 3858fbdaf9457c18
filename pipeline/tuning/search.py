"""hyperopt's fmin over the model families: each default first, then TPE."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from typing import Any

import numpy as np
from hyperopt import STATUS_FAIL, STATUS_OK, Trials, fmin, tpe
from hyperopt.base import Domain, trials_from_docs
from hyperopt.exceptions import AllTrialsFailed
from hyperopt.fmin import fmin_pass_expr_memo_ctrl

from pipeline.config.tune import Tune
from pipeline.tuning.hyperopt_space import SearchSpace
from pipeline.tuning.search_space import family_spaces
from pipeline.tuning.trial import Evaluator, TrialInputs, TrialResult, evaluator

AHEAD = 4  # trials at a time: the same on any machine, so the search is too

OnResult = Callable[[TrialResult], None]
Finished = Mapping[int, TrialResult]


def search(
    inputs: TrialInputs,
    tune: Tune,
    finished: Finished,
    on_end: OnResult,
    on_result: OnResult,
) -> None:
    """Runs the search, with the trials of an earlier one in place of those of the same number.

    `on_end` gets each trial that was run here the moment it ends; `on_result` gets every trial
    of the search in the order of suggestion. The result depends on the seed and the data, and
    on the number of workers only where there are more than four.
    """
    with evaluator(inputs, tune) as evaluate:
        ahead = _Lookahead(Suggestions(tune, finished), tune, evaluate, on_end)

        @fmin_pass_expr_memo_ctrl  # type: ignore[untyped-decorator]
        def objective(expr: Any, memo: Any, ctrl: Any) -> dict[str, Any]:
            result = ahead.result(ctrl.current_trial["tid"])
            on_result(result)
            return hyperopt_result(result)

        with suppress(AllTrialsFailed):  # each has its error
            fmin(
                objective,
                ahead.suggestions.space.expression,
                algo=ahead.suggest,
                max_evals=tune.max_evals,
                timeout=tune.timeout,
                trials=Trials(),
                rstate=np.random.default_rng(tune.seed),
                early_stop_fn=no_progress(tune.patience) if tune.patience else None,
                return_argmin=False,
            )


class Suggestions:
    """What to try next: trials that have finished before, the defaults, then TPE.

    The suggestion of trial n depends on the seed, on n and on the trials before it, so a
    search that goes on with what it had makes the same suggestions as one that never stopped.
    """

    def __init__(self, tune: Tune, finished: Finished) -> None:
        self.space = SearchSpace(family_spaces(tune))
        self.defaults = self.space.defaults()
        self.seed = tune.seed
        self.finished = finished

    def document(self, number: int, domain: Domain, trials: Trials) -> dict[str, Any]:
        """The trial as a document of hyperopt, not run yet."""
        if number in self.finished:
            trial = self.finished[number].trial
            return self.space.document(number, trial.family, trial.params, domain, trials)
        if number < len(self.defaults):
            return self.space.document(number, *self.defaults[number], domain, trials)
        (seed,) = np.random.SeedSequence((self.seed, number)).generate_state(1).tolist()
        (document,) = tpe.suggest([number], domain, trials, seed, verbose=False)
        return dict(document)


class _Lookahead:
    """Suggests trials a window ahead of hyperopt's loop and starts each at once.

    Trial n is suggested when trial n - window has ended, whatever has ended besides: workers
    never wait for a batch to fill, and the same seed gives the same search.
    """

    def __init__(
        self, suggestions: Suggestions, tune: Tune, evaluate: Evaluator, on_end: OnResult
    ) -> None:
        self.suggestions = suggestions
        self.most = tune.max_evals
        self.evaluate = evaluate
        self.window = max(AHEAD, evaluate.workers)
        self.on_end = on_end
        self.suggested: list[dict[str, Any]] = []
        self.ended = dict(suggestions.finished)

    def suggest(self, new_ids: list[int], domain: Domain, trials: Trials, _: int) -> Any:
        """Hyperopt's `algo`: the next trial's document."""
        (number,) = new_ids
        for ahead in range(len(self.suggested), min(number + self.window, self.most)):
            # Trials that run count as done and poor: TPE does not suggest them once more.
            history = trials_from_docs([*trials.trials, *self.suggested[number:]], validate=False)
            document = self.suggestions.document(ahead, domain, history)
            self.suggested.append(document)
            if ahead not in self.ended:
                self.evaluate.start(ahead, *self.suggestions.space.point(document))
        return [self.suggested[number]]

    def result(self, number: int) -> TrialResult:
        """The result of a suggested trial; others that end meanwhile are reported."""
        while number not in self.ended:
            result = self.evaluate.next()
            self.ended[result.trial.number] = result
            self.on_end(result)
        return self.ended.pop(number)


def hyperopt_result(result: TrialResult) -> dict[str, Any]:
    """What hyperopt's objective returns for it."""
    if result.trial.error:
        return {"status": STATUS_FAIL, "loss": None}
    return {"status": STATUS_OK, "loss": result.trial.loss}


def no_progress(patience: int) -> Callable[..., tuple[bool, list[Any]]]:
    """Stops after that many trials without a better one.

    hyperopt's own `no_progress_loss` counts the first trial as one without progress.
    """

    def stop(trials: Trials, *_: Any) -> tuple[bool, list[Any]]:
        losses = [inf if loss is None else loss for loss in trials.losses()]
        return len(losses) - 1 - int(np.argmin(losses)) >= patience, []

    return stop
