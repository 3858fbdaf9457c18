"""Which step runs when, in which MLflow run, or is reused from the tracking store.

A step is imported when it runs: with its libraries it takes a second, and reused steps do without.
"""

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from math import nan
from typing import TYPE_CHECKING, Any

from mlflow.entities import Run

from pipeline import fingerprint
from pipeline.config.sections import Config
from pipeline.datasets import sources
from pipeline.models import import_paths as packages
from pipeline.results import Dataset, Report, Training, Tuning
from pipeline.tracking import model_files, records, registry
from pipeline.tracking import runs as tracking
from pipeline.tuning import worker_pool as workers
from pipeline.verbs import VERBS, Options, searches, steps

if TYPE_CHECKING:  # with scikit-learn: reused steps do without
    from pipeline.tuning.trial import Outcome

log = logging.getLogger(__name__)

MOST_CHANGES = 5
MOSTLY = 0.5  # the share of columns by which a table is taken for the same
RECENT = 50  # runs: of a store that has fewer, one search tells all that can be reused
REUSABLE = " and ".join(f"tags.{tracking.STEP} != '{step}'" for step in ("trial", "promote"))


def run(verb: str, config: Config, options: Options) -> None:
    """Runs a step with all that it needs, or all steps for `run`, under one parent run.

    Steps whose finished run is in the tracking store are reused, unless `options.fresh`.
    """
    with tracking.parent_run(verb) as parent_id, model_files.cached():
        if closed := tracking.close_killed():
            log.info("closed as KILLED: %d runs of a process that was killed", closed)
        tracking.log_config(parent_id, fingerprint.flatten(config))
        if searches(verb, options):
            _check_search(config)
        flow = _Flow(config, options)
        planned = [flow.plan(step) for step in steps(verb, options)]
        undone = [plan.step for plan in planned if plan.found is None]
        if not any(VERBS[step].searches for step in undone):
            workers.stop()
        if "promote" in undone and any(VERBS[step].is_reused for step in undone):
            registry.check_name(config.registry.model)  # before what takes long
        for plan in planned:
            flow.follow(plan)
        records.parent(parent_id, flow.runs, flow.reused)


def rollback(config: Config, options: Options) -> None:
    """Back to an earlier champion, in a run of its own."""
    from pipeline.promotion import alias as champions  # with the server
    from pipeline.promotion.history import after

    with tracking.parent_run("rollback") as run_id:
        tracking.log_config(run_id, fingerprint.flatten(config, ["registry"]))
        event = champions.rollback(config.registry.model, options)
        name = config.registry.model
        message = f"{name}: version {event.version} is champion again{after(event)}"
        tracking.log(run_id, tags={**event.tags, tracking.NOTE: message})
        log.info("%s", message)


def history(config: Config) -> None:
    """Prints the line of champions."""
    from pipeline.promotion import promotion_log as ledger
    from pipeline.promotion.history import as_text

    name = config.registry.model
    line = ledger.read(name)
    if line is None or line.last is None:
        log.info("%s has no history yet: `python -m pipeline run` begins it", name)
        return
    log.info("%s", as_text(line.events))
    now = registry.champion_version(name)
    if not line.is_done:
        log.info("%s: the last is under way, or was killed: the next verb finishes it", name)
    elif now != line.last.version:
        log.info("%s now: version %s, by other means than the pipeline", name, now or "none")


def _check_search(config: Config) -> None:
    """What only the libraries can tell of the config, before anything runs. Raises ConfigError."""
    tune = config.tune
    if tune.space or tune.import_paths():
        from pipeline.tuning import (
            search_space as families,  # with scikit-learn: a plain config does without
        )

        families.check(tune)
    if tune.backend == "spark":
        packages.check_spark()


@dataclass(frozen=True)
class _Plan:
    """A step, what it depends on, and its finished run if there is one."""

    step: str
    inputs: Mapping[str, Any]
    mark: str
    found: Run | None


class _Flow:
    """The steps' runs and values, as far as they have come."""

    def __init__(self, config: Config, options: Options) -> None:
        self.config = config
        self.options = options
        self.fresh = options.fresh
        self.content = sources.fetch(config.data)
        self.digest = hashlib.sha256(self.content).hexdigest()
        self.runs: dict[str, Run] = {}
        self.reused: set[str] = set()

    def plan(self, step: str) -> _Plan:
        """Looks for a finished run of the step with the same inputs."""
        inputs = fingerprint.inputs(step, self.config, self.digest)
        mark = fingerprint.fingerprint(inputs)
        again = self.fresh or not VERBS[step].is_reused
        return _Plan(step, inputs, mark, None if again else self._finished_run(step, mark))

    def _finished_run(self, step: str, mark: str) -> Run | None:
        """The latest with the same inputs; older ones are asked for by their fingerprint."""
        for run in self._recent:
            tags = run.data.tags
            if tags[tracking.STEP] == step and tags.get(tracking.FINGERPRINT) == mark:
                return run
        return tracking.find(step, mark) if len(self._recent) == RECENT else None

    @cached_property
    def _recent(self) -> list[Run]:
        """The latest finished runs of steps that can be reused, in one search for all of them."""
        return tracking.search(REUSABLE, RECENT)

    def follow(self, plan: _Plan) -> None:
        """Takes over the finished run, or runs the step."""
        if plan.found is not None:
            log.info("%s: reused from run %s", plan.step, plan.found.info.run_id)
            self.reused.add(plan.step)
            self.runs[plan.step] = plan.found
            return
        log.info("%s", self._why(plan))
        start = time.perf_counter()
        with tracking.step_run(plan.step) as run_id:
            tracking.log(run_id, plan.inputs)
            report: Report = getattr(self, f"_{plan.step}")(run_id)
            model_id = report.tags["model_id"] if plan.step == "evaluate" else None
            records.record(run_id, report, plan.mark, model_id)
        self.runs[plan.step] = tracking.get(run_id)
        log.info("%s took %.1f s", plan.step, time.perf_counter() - start)

    @cached_property
    def dataset(self) -> Dataset:
        """Read and checked again when ingest is reused: that is quicker than storing a copy."""
        from pipeline.steps.ingest import ingest

        return ingest(self.config, self.content)

    @cached_property
    def tuning(self) -> Tuning:
        """Set by the step, or read from its run."""
        return records.load_tuning(self.runs["tune"])

    @cached_property
    def training(self) -> Training:
        """Set by the step, or read from its run."""
        return records.load_training(self.runs["train"])

    @cached_property
    def finished(self) -> "dict[int, Outcome]":
        """The trials that the search need not run again."""
        from pipeline.tracking import trial_runs

        return {} if self.fresh else trial_runs.finished(self._search, self.config.tune)

    @property
    def _search(self) -> str:
        return fingerprint.search(fingerprint.inputs("tune", self.config, self.digest))

    def _ingest(self, _: str) -> Report:
        records.log_input(self.config, self.dataset, "ingest")
        return Report(tags=self.dataset.digests)

    def _analyze(self, _: str) -> Report:
        from pipeline.steps.analyze import analyze

        return analyze(self.dataset)

    def _tune(self, run_id: str) -> Report:
        from pipeline.steps.tune import tune
        from pipeline.tracking import trial_runs

        on_trial = partial(trial_runs.record, run_id, self._search)
        self.tuning = tune(self.config, self.dataset, on_trial, self.finished)
        return self.tuning.report.adding(records.tuning_files(self.tuning))

    def _train(self, _: str) -> Report:
        from pipeline.steps.train import train
        from pipeline.tracking import logged_model

        self.training, compilation = train(self.config, self.dataset, self.tuning)
        report = self.training.report
        records.log_input(self.config, self.dataset, "training")
        model_id = logged_model.log(self.config, self.dataset, self.training, compilation)
        log.info("train: %s", report.note)
        return report.adding(records.training_files(self.training), {"model_id": model_id})

    def _evaluate(self, _: str) -> Report:
        from pipeline.steps.evaluate import evaluate

        records.log_input(self.config, self.dataset, "testing")
        report = evaluate(self.config.evaluate, self.dataset, self.training).report
        model_id = self.runs["train"].data.tags["model_id"]
        model = self.config.registry.model
        return report.adding(tags={"model_id": model_id, "registered_model": model})

    def _promote(self, run_id: str) -> Report:
        from pipeline.promotion.promote import Promoter  # with the server
        from pipeline.tracking import candidates

        primary = self.config.gate.primary
        if self.options.run is not None:
            among = candidates.only_of_run(primary, self.options.run, self.dataset)
        else:
            own, name = self.runs["evaluate"], f"cv/{primary}"
            log.info("promote: this run's model has %s %.4f", name, own.data.metrics.get(name, nan))
            among = candidates.of_experiment(self.config.registry.model, primary, own)
        promoter = Promoter(run_id, self.config, self.dataset, among, self.options)
        outcome = promoter.promote()
        log.info("%s", outcome.sentence)
        return outcome.report

    def _compare(self, _: str) -> Report:
        from pipeline.promotion.compare import compare_runs  # with matplotlib
        from pipeline.tracking import candidates

        pair = [candidates.of_run(one) for one in self.options.runs]
        report = compare_runs(self.config, self.dataset, pair)
        log.info("%s", report.note)
        return report

    def _audit(self, _: str) -> Report:
        from pipeline.steps import procedure
        from pipeline.steps.audit import OWN, OuterFold, audit

        def tell(fold: OuterFold) -> None:
            loss = fold.scores[OWN]["log_loss"]
            log.info("audit: fold %d of %d, log loss %.4f", fold.place + 1, folds, loss)

        folds = self.config.audit.folds
        return audit(self.config, self.dataset, procedure.run, tell)

    def _why(self, plan: _Plan) -> str:
        """Why the step runs, by what differs from the most similar earlier run."""
        if not VERBS[plan.step].is_reused:
            return f"{plan.step}: done anew each time"
        if self.fresh:
            return f"{plan.step} runs: fresh was asked for"
        changes = self._fewest_changes(plan)
        if plan.step == "tune" and self.finished:
            most = self.config.tune.max_evals
            done = f"{len(self.finished)} of {most} trials have finished and are read back"
            return f"tune goes on: {done}{f' ({changes})' if changes else ''}"
        if not changes:
            target = self.config.data.target
            return f"{plan.step} runs: no earlier run of it for the target {target}"
        return f"{plan.step} runs again: {changes}"

    def _fewest_changes(self, plan: _Plan) -> str:
        now = tracking.texts_by_key(plan.inputs)
        changes = [
            _changes(run.data.params, now)
            for run in self._latest(plan.step)
            if _is_same_table(run.data.params, now)
        ]
        fewest = min(changes, key=len, default=[])
        more = f" and {len(fewest) - MOST_CHANGES} more" if len(fewest) > MOST_CHANGES else ""
        return "; ".join(fewest[:MOST_CHANGES]) + more

    def _latest(self, step: str) -> list[Run]:
        """The latest finished runs of the step."""
        if len(self._recent) == RECENT:
            return tracking.latest(step)
        return [run for run in self._recent if run.data.tags[tracking.STEP] == step]


def _is_same_table(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether two steps read the same table, perhaps with other rows or a few other columns."""
    if before.get("data.target") != now["data.target"]:
        return False
    columns, others = (
        {name for name in params if name.startswith("data.columns.")} for params in (before, now)
    )
    shared = len(columns & others) / max(len(columns | others), 1)
    return before.get("data digest") == now["data digest"] or shared > MOSTLY


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f"{name} {before.get(name, '(unset)')} -> {now.get(name, '(unset)')}"
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name)
    ]
