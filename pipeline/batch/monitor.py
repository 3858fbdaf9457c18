"""`monitor`: whether new rows are still like those that the model was trained on."""

import logging
from typing import TYPE_CHECKING

from pipeline import closing, flow
from pipeline.batch.common import (
    BEYOND,
    begin,
    log_input,
    profile_of,
    source_of,
    tags,
    title,
    version_at,
)
from pipeline.batch.late_labels import labels_of
from pipeline.config.sections import Config
from pipeline.errors import ModelError
from pipeline.evaluation.checked_rows import RowReader
from pipeline.evaluation.profile import Profile
from pipeline.flow import Result
from pipeline.inference.model_folder import PROFILE
from pipeline.promotion.stored_model import StoredModel, of_version
from pipeline.steps import monitor as step
from pipeline.tracking import model_files, runs
from pipeline.verbs import Options

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def monitor(config: Config, options: Options, table: "pd.DataFrame | None" = None) -> Result:
    """Compares new rows with those of the training, or a champion with its shadow."""
    if options.shadow:
        from pipeline.batch import shadow  # with scikit-learn

        return shadow.monitor(config, options, table)
    return _monitor(config, options, table)


def _monitor(config: Config, options: Options, table: "pd.DataFrame | None") -> Result:
    """Compares `options.data`, or the table, with the profile of the champion or `options.model`.

    Where something is beyond the bounds the exit status is 4, or with `options.retrain` what
    `run` makes of it. Raises ConfigError, SourceError, ContractError for columns that are missing,
    RegistryError, ModelError for a model without a profile.
    """
    source = source_of(config.data, options.data, table)
    registered = version_at(config, options.model)
    with (
        model_files.cached(),
        of_version(registered) as model,
        runs.parent_run("monitor", str(registered.name)) as run_id,
    ):
        runs.close_killed()
        profile = _profile(model, options)
        first, batches = begin(source, options.data)
        contract, trained = model.predictor.contract, model.predictor.trained
        chosen = trained.scores or trained.threshold
        reference = step.Reference(contract, chosen, profile, model.metrics)
        late, target = labels_of(config, options, first.column_names, contract.target)
        batches = late.join(batches) if late else batches
        reader = RowReader(model.predictor, first.column_names)
        observed = step.observe(reader, profile, batches, target)
        result = step.monitor(config, reference, observed)
        log_input(first, observed.rows, options.data, source.digest(), "monitoring")
        runs.use_model(run_id, model.model_id)
        runs.log_artifacts(run_id, result.report.artifacts)
        outcome = "beyond the bounds" if result.alarms else "within the bounds"
        about = tags(registered, model, source.digest(), f"monitor: {outcome}")
        params = {"data": options.data, "model": title(registered)}
        note = {runs.NOTE: result.report.note}
        runs.log(run_id, params, result.report.metrics, {**about, **note})
        run = runs.active()
    log.info("%s", closing.text(run, str(registered.name), None, None))
    if late is not None:
        log.info("%d of %d rows have a label in %s", late.joined, observed.rows, options.labels)
    log.info("%s against %s: %s", options.data, title(registered), result.report.note)
    metrics = result.report.metrics
    if result.alarms and options.retrain:
        log.info("monitor: beyond the bounds, so all steps run on %s", config.data.source)
        return flow.run("run", config, Options(fresh=options.fresh, given=options.given))
    return Result(run_id, metrics, {}, None, BEYOND if result.alarms else 0)


def _profile(model: StoredModel, options: Options) -> Profile:
    profile = profile_of(model)
    if profile is None:
        raise ModelError(
            f"{model.title} has no {PROFILE}: it was trained before models had one; train and "
            f"promote it again: `{closing.command('run', options, '--fresh')}`"
        )
    return profile
