"""The search on a Spark cluster, through hyperopt's own SparkTrials; imports PySpark."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count, islice
from typing import Any

import numpy as np
from hyperopt import SparkTrials, fmin
from hyperopt.base import JOB_STATE_DONE, JOB_STATE_ERROR, Domain, trials_from_docs
from hyperopt.exceptions import AllTrialsFailed
from threadpoolctl import threadpool_limits

from pipeline.config.sections import Config
from pipeline.tuning.hyperopt_space import SearchSpace
from pipeline.tuning.search import Finished, OnResult, Suggestions, hyperopt_result, no_progress
from pipeline.tuning.spark_session import session_of
from pipeline.tuning.trial import TrialInputs, TrialResult, evaluate, evaluate_within, failed

TRIAL = "trial"  # the key of a TrialResult in what the objective returns


def search_on_spark(
    inputs: TrialInputs, config: Config, finished: Finished, on_end: OnResult, on_result: OnResult
) -> None:
    """As `search`, with each trial a task of Spark.

    Suggestions follow from what has ended when a task is free, so the same seed may give
    another search. Results are in the order in which trials end. Raises ConfigError.
    """
    tune = config.tune
    suggestions = Suggestions(tune, finished)
    space = suggestions.space

    def report(result: TrialResult) -> None:
        on_end(result)
        on_result(result)

    def suggest(new_ids: list[int], domain: Domain, trials: Any, _: int) -> list[dict[str, Any]]:
        documents: list[dict[str, Any]] = []
        for number in new_ids:
            history = trials_from_docs([*trials.trials, *documents], validate=False)
            documents.append(suggestions.document(number, domain, history))
        return documents

    with session_of(config.spark) as session:
        parallelism = (
            session.sparkContext.defaultParallelism
            if tune.parallelism == "auto"
            else tune.parallelism
        )
        objective = _objective(session.sparkContext.broadcast(inputs), space, tune.trial_timeout)
        trials = _Trials(space, report, parallelism=parallelism, spark_session=session)
        trials.take(finished, Domain(objective, space.expression), suggestions)
        for result in finished.values():
            on_result(result)
        # AllTrialsFailed: each has its error. PySpark warns of each thread that hyperopt starts.
        with suppress(AllTrialsFailed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Spark session is not provided")
            fmin(
                objective,
                space.expression,
                algo=suggest,
                max_evals=tune.max_evals,
                timeout=tune.timeout,
                trials=trials,
                max_queue_len=trials.parallelism,
                rstate=np.random.default_rng(tune.seed),
                early_stop_fn=no_progress(tune.patience) if tune.patience else None,
                return_argmin=False,
            )
        trials.refresh()


class _Trials(SparkTrials):  # type: ignore[misc]
    """Reports each trial when hyperopt looks for it, which is once a second."""

    def __init__(self, space: SearchSpace, report: OnResult, **options: Any) -> None:
        self.space = space
        self.report = report
        self.reported: set[int] = set()
        super().__init__(**options)

    def take(self, finished: Finished, domain: Domain, suggestions: Suggestions) -> None:
        """Takes the trials of an earlier search as done."""
        for number, result in finished.items():
            document = suggestions.document(number, domain, self)
            done = {"state": JOB_STATE_DONE, "result": hyperopt_result(result)}
            self.insert_trial_docs([{**document, **done}])
            self.reported.add(number)
        self.refresh()

    def new_trial_ids(self, n: int) -> list[int]:
        """Numbers that no trial has: an earlier search may have left gaps."""
        free = list(islice((number for number in count() if number not in self._ids), n))
        self._ids.update(free)
        return free

    def refresh(self) -> None:
        """Hyperopt's hook, in the thread of fmin."""
        super().refresh()
        for document in list(self._dynamic_trials):
            ended = document["state"] in (JOB_STATE_DONE, JOB_STATE_ERROR)
            if ended and document["tid"] not in self.reported:
                self.reported.add(document["tid"])
                self.report(self._result(document))

    def _result(self, document: dict[str, Any]) -> TrialResult:
        number = document["tid"]
        if document["state"] == JOB_STATE_ERROR:
            kind, trace = document["misc"]["error"]
            last = str(trace or kind).strip().splitlines()[-1]
            return failed(number, *self.space.point(document), 0.0, f"its task failed: {last}")
        result: TrialResult = document["result"].pop(TRIAL)
        return replace(result, trial=replace(result.trial, number=number))


def _objective(inputs: Any, space: SearchSpace, timeout: float | None) -> Callable[..., Any]:
    """What an executor runs; the data comes as a broadcast of Spark."""

    def objective(drawn: dict[str, Any]) -> dict[str, Any]:
        trial = (0, *space.decode(drawn))
        with threadpool_limits(1):
            result = (
                evaluate(inputs.value, *trial)
                if timeout is None
                else evaluate_within(timeout, inputs.value, *trial)
            )
        return {**hyperopt_result(result), TRIAL: result}

    return objective
