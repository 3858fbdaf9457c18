"""Which step runs when, in which MLflow run, or is reused from the tracking store.

A step is imported when it runs: with its libraries it takes a second, and reused steps do without.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from math import nan
from typing import TYPE_CHECKING, Any

from mlflow.entities import Run

from pipeline import closing, fingerprint, progress
from pipeline.config.of_task import of_task
from pipeline.config.sections import Config
from pipeline.config.write import as_text
from pipeline.datasets.sources import Source, open_source
from pipeline.datasets.table_source import TableSource
from pipeline.models import import_paths
from pipeline.results import Artifacts, Dataset, Promotion, Report, Training, Tuning
from pipeline.tasks import METRICS, TASKS, loss_of
from pipeline.tracking import candidates, model_files, records, registry, runs
from pipeline.tracking.earlier_runs import EarlierRuns
from pipeline.tuning import worker_pool
from pipeline.verbs import VERBS, Options, searches, steps

if TYPE_CHECKING:  # with scikit-learn: reused steps do without
    import pandas as pd

    from pipeline.tuning.trial import TrialResult

log = logging.getLogger(__name__)
TASK = "task"  # tag of the run of ingest


@dataclass(frozen=True)
class Result:
    """What a command has left in MLflow."""

    run_id: str  # the command's own run; those of the steps are its children
    metrics: Mapping[str, float]  # cv/log_loss, test/roc_auc, ...
    steps: Mapping[str, str]  # verb -> id of its run, which an earlier command may have made
    decision: Promotion | None  # what became of the registry and why; of promote and rollback
    status: int = 0  # exit status of the command

    @cached_property
    def model(self) -> Any:
        """The fitted scikit-learn classifier, read from the store; None of a verb without one.

        Raises StoreError, ModelError.
        """
        step = self.steps.get("train")
        return None if step is None else records.load_training(runs.get(step)).model


def run(verb: str, config: Config, options: Options, table: "pd.DataFrame | None" = None) -> Result:
    """Runs a step with all that it needs, or all steps for `run`, under one parent run.

    On the table, if one is given, else on what the config names.
    Steps whose finished run is in the tracking store are reused, unless `options.fresh`.
    """
    with runs.parent_run(verb, config.registry.model) as parent_id, model_files.cached():
        if closed := runs.close_killed():
            log.info("closed as KILLED: %d runs of a process that was killed", closed)
        if searches(verb, options):
            _check_search(config)
        job = _Job(config, options, table)
        job.look_up()
        runs.log_config(parent_id, fingerprint.as_set(config))
        plans = [job.plan(step) for step in steps(verb, options)]
        _prepare(config, [plan.step for plan in plans if plan.finished is None])
        _follow(job, plans[0])
        if job.settle():
            plans[1:] = [job.plan(plan.step) for plan in plans[1:]]
        for plan in plans[1:]:
            _follow(job, plan)
        reused = {plan.step for plan in plans if plan.finished is not None}
        runs.log_artifacts(parent_id, job.files())
        name = closing.run_name(config.registry.model, verb, job.decision)
        metrics = records.parent(parent_id, name, job.runs, reused)
        parent = runs.active()
    step_ids = {step: run.info.run_id for step, run in job.runs.items()}
    log.info("%s", closing.text(parent, config.registry.model, job.decision, job.loaded))
    return Result(parent_id, metrics, step_ids, job.decision)


def rollback(config: Config, options: Options) -> Result:
    """Back to an earlier champion, in a run of its own."""
    from pipeline.promotion.history import after
    from pipeline.promotion.rollback import roll_back  # with the server

    name = config.registry.model
    with runs.parent_run("rollback", name) as run_id:
        runs.log_config(run_id, {"registry.model": name})
        event = roll_back(name, options)
        message = f"{name}: version {event.version} is champion again{after(event)}"
        label = f"v{event.version} champion again"
        decision = Promotion("rolled back", event.version, message, label)
        title = closing.run_name(name, "rollback", decision)
        runs.log(run_id, tags={**event.tags, runs.NOTE: message, runs.NAME: title})
        run = runs.active()
    log.info("%s", closing.text(run, name, decision, None))
    return Result(run_id, {}, {}, decision)


def history(config: Config) -> None:
    """Prints the champions of a registered model."""
    from pipeline.promotion import promotion_log
    from pipeline.promotion.history import as_text

    name = config.registry.model
    entries = promotion_log.read(name)
    if entries is None or entries.last is None:
        log.info("%s has no history yet: `python -m pipeline run` begins it", name)
        return
    log.info("%s", as_text(entries.events))
    now = registry.champion_version(name)
    if not entries.is_done:
        log.info("%s: the last is under way, or was killed: the next verb finishes it", name)
    elif now != entries.champion:
        log.info("%s now: version %s, by other means than the pipeline", name, now or "none")


def _check_search(config: Config) -> None:
    """What only the libraries can tell of the config, before anything runs. Raises ConfigError."""
    tune = config.tune
    if tune.space or tune.import_paths():
        from pipeline.tuning import search_space  # with scikit-learn: a plain config does without

        search_space.check(tune, config.data.weight)
    if tune.backend == "spark":
        import_paths.check_spark()


def _prepare(config: Config, undone: list[str]) -> None:
    """Ends workers that nothing needs, and checks what the steps to run need at their end."""
    if not any(VERBS[step].searches for step in undone):
        worker_pool.stop()
    if "promote" in undone and any(VERBS[step].is_reused for step in undone):
        registry.check_name(config.registry.model)  # before what takes long


@dataclass(frozen=True)
class _Plan:
    """A step, what it depends on, and its finished run if there is one that can be reused."""

    step: str
    inputs: Mapping[str, Any]
    fingerprint: str
    finished: Run | None


class _Job:
    """The values of the steps, each set by its step or read back from the run that is reused."""

    def __init__(
        self, config: Config, options: Options, table: "pd.DataFrame | None" = None
    ) -> None:
        self.config = config
        self.options = options
        self.source: Source = (
            open_source(config.data) if table is None else TableSource(config.data, table)
        )
        self.digest = self.source.digest()
        self.earlier = EarlierRuns()
        self.runs: dict[str, Run] = {}
        self.reports: dict[str, Report] = {}  # of the steps that have run
        self.decision: Promotion | None = None
        self.asked: list[Run] = []  # the evaluations of the runs that the options name

    def look_up(self) -> None:
        """The models that are asked for by their runs, before anything begins.

        Raises RegistryError for one that is not there, or not of this table and split.
        """
        named = [self.options.run] if self.options.run is not None else self.options.runs
        self.asked = [candidates.of_run(run_id) for run_id in named]
        if self.options.run is not None:
            split = fingerprint.flatten(self.config, ["split"])
            candidates.check(self.asked[0], self.dataset, split)

    def files(self) -> Artifacts:
        """What the parent shows: all settings, and what came of the steps if there is any news."""
        settings: Artifacts = {"config.yaml": as_text(self.config)}
        if not self.reports or (self.decision is not None and not self.decision.rules):
            return settings  # the description leads to the runs that were reused
        written = {step: report.artifacts for step, report in self.reports.items()}
        card = self.decision.card if self.decision else ""
        pages: Artifacts = {"model_card.html": card} if card else {}
        return {**settings, **pages, **records.report_files(self.runs, written)}

    @property
    def loaded(self) -> Dataset | None:
        """The data set, if a step has read it."""
        return self.__dict__.get("dataset")

    def plan(self, step: str) -> _Plan:
        """Looks for a finished run of the step with the same inputs."""
        inputs = fingerprint.inputs(step, self.config, self.digest)
        digest = fingerprint.fingerprint(inputs)
        anew = self.options.fresh or not VERBS[step].is_reused
        return _Plan(step, inputs, digest, None if anew else self.earlier.find(step, digest))

    def settle(self) -> bool:
        """Sets what the config leaves to the task, once ingest has told it; whether that is new."""
        tag = self.runs["ingest"].data.tags[TASK]
        task = next(one for name, one in TASKS.items() if name == tag)
        before = self.config
        self.config = (
            of_task(before, task) if task.has_classes else _of_amounts(before, self.dataset)
        )
        return self.config != before

    @cached_property
    def dataset(self) -> Dataset:
        """Read and checked again when ingest is reused: that is quicker than storing a copy."""
        from pipeline.steps.ingest import ingest

        return ingest(self.config, self.source)

    @cached_property
    def tuning(self) -> Tuning:
        """The search."""
        return records.load_tuning(self.runs["tune"])

    @cached_property
    def training(self) -> Training:
        """The fitted model."""
        return records.load_training(self.runs["train"])

    @cached_property
    def search(self) -> str:
        """The fingerprint of the search, however far it has come."""
        from pipeline.tuning.size_limits import fitting_families

        families = fitting_families(self.config, len(self.dataset.y_train))
        return fingerprint.search(fingerprint.inputs("tune", self.config, self.digest), families)

    @cached_property
    def finished_trials(self) -> "dict[int, TrialResult]":
        """The trials that the search need not run again, by number."""
        from pipeline.tracking import trial_runs

        return {} if self.options.fresh else trial_runs.finished(self.search, self.config.tune)


def _follow(job: _Job, plan: _Plan) -> None:
    """Takes over the finished run, or runs the step in a run of its own."""
    if plan.finished is not None:
        log.info("%s: reused from run %s", plan.step, plan.finished.info.run_id)
        job.runs[plan.step] = plan.finished
        return
    log.info("%s", _why(job, plan))
    start = time.perf_counter()
    with runs.step_run(plan.step) as run_id:
        runs.log(run_id, plan.inputs)
        with nullcontext() if plan.step == "tune" else progress.stage(plan.step):  # it has a bar
            report = STEPS[plan.step](job, run_id)
        is_of_model = plan.step == "evaluate"
        of_model = records.of_model(report.tags["model_id"], job.dataset) if is_of_model else None
        records.record(run_id, report, plan.fingerprint, of_model)
    job.reports[plan.step] = report
    job.runs[plan.step] = runs.get(run_id)
    log.info("%s took %.1f s", plan.step, time.perf_counter() - start)


def _why(job: _Job, plan: _Plan) -> str:
    """Why the step runs, by what differs from the most similar earlier run."""
    if not VERBS[plan.step].is_reused:
        return f"{plan.step}: done anew each time"
    if job.options.fresh:
        return f"{plan.step} runs: fresh was asked for"
    changes = job.earlier.changes(plan.step, plan.inputs)
    if plan.step == "tune" and job.finished_trials:
        done = f"{len(job.finished_trials)} of {job.config.tune.max_evals} trials have finished"
        return f"tune goes on: {done} and are read back{f' ({changes})' if changes else ''}"
    if not changes:
        return f"{plan.step} runs: no earlier run of it for the target {job.config.data.target}"
    return f"{plan.step} runs again: {changes}"


def _ingest(job: _Job, _: str) -> Report:
    records.log_input(job.config, job.dataset, "ingest")
    data = job.dataset.data or job.config.data  # all columns of it are listed now
    data = data.model_copy(update={"unlisted": "refuse"})
    task = job.dataset.contract.task
    full = job.config if task.has_classes else _of_amounts(job.config, job.dataset)
    full = full.model_copy(update={"data": data})
    tags = {**job.dataset.digests, TASK: task.name}
    return Report(tags=tags, artifacts={"config.yaml": as_text(full)})


def _of_amounts(config: Config, dataset: Dataset) -> Config:
    """The config with what follows from the amounts."""
    return of_task(config, dataset.contract.task, float(dataset.y.min()))


def _analyze(job: _Job, _: str) -> Report:
    from pipeline.steps.analyze import analyze

    report = analyze(job.dataset)
    log.info("analyze: %s", report.note)
    return report


def _tune(job: _Job, run_id: str) -> Report:
    from pipeline.steps.tune import tune
    from pipeline.tracking import trial_runs
    from pipeline.tuning import size_limits

    if sizes := size_limits.describe(job.config, job.dataset):
        log.info("tune: %s", sizes)
    on_trial = partial(trial_runs.record, run_id, job.search)
    job.tuning = tune(job.config, job.dataset, on_trial, job.finished_trials)
    return job.tuning.report.adding(records.tuning_files(job.tuning))


def _train(job: _Job, _: str) -> Report:
    from pipeline.steps.train import train
    from pipeline.tracking import logged_model

    job.training, compilation = train(job.config, job.dataset, job.tuning)
    records.log_input(job.config, job.dataset, "training")
    model_id = logged_model.log(job.config, job.dataset, job.training, compilation)
    report = job.training.report
    log.info("train: %s", report.note)
    return report.adding(records.training_files(job.training), {"model_id": model_id})


def _evaluate(job: _Job, _: str) -> Report:
    from pipeline.steps.evaluate import evaluate, summary

    records.log_input(job.config, job.dataset, "testing")
    evaluation = evaluate(job.config.evaluate, job.dataset, job.training)
    log.info("evaluate: %s", summary(job.dataset, evaluation))
    report = evaluation.report
    model_id = job.runs["train"].data.tags["model_id"]
    return report.adding(tags={"model_id": model_id, "registered_model": job.config.registry.model})


def _promote(job: _Job, run_id: str) -> Report:
    from pipeline.promotion.promote import Promoter  # with the server

    primary = job.config.gate.primary
    if job.asked:
        among = candidates.Candidates(primary, job.asked)
    else:
        evaluated, name = job.runs["evaluate"], f"cv/{primary}"
        value = evaluated.data.metrics.get(name, nan)
        log.info("promote: this run's model has %s %.4f", name, value)
        among = candidates.of_experiment(job.config.registry.model, primary, evaluated)
    job.decision = Promoter(run_id, job.config, job.dataset, among, job.options).promote()
    return job.decision.report


def _compare(job: _Job, _: str) -> Report:
    from pipeline.promotion.compare import compare_runs  # with matplotlib

    pair = [candidates.candidate(evaluated) for evaluated in job.asked]
    report = compare_runs(job.config, job.dataset, pair)
    log.info("%s", report.note)
    return report


def _audit(job: _Job, _: str) -> Report:
    from pipeline.steps import procedure
    from pipeline.steps.audit import PROCEDURE, OuterFold, audit

    def on_fold(fold: OuterFold) -> None:
        scores, folds = fold.scores[PROCEDURE], job.config.audit.folds
        metric = loss_of(scores)
        title, loss = METRICS[metric].title, scores[metric]
        log.info("audit: fold %d of %d, %s %.4f", fold.place + 1, folds, title, loss)

    return audit(job.config, job.dataset, procedure.run, on_fold)


STEPS: dict[str, Callable[[_Job, str], Report]] = {
    "ingest": _ingest,
    "analyze": _analyze,
    "tune": _tune,
    "train": _train,
    "evaluate": _evaluate,
    "promote": _promote,
    "compare": _compare,
    "audit": _audit,
}
