"""`monitor --shadow`: the shadow of a server beside its champion, by the log of both answers."""

import logging
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from pipeline import closing
from pipeline.batch.common import BEYOND, begin, log_input, source_of, tags, title, version_at
from pipeline.batch.late_labels import labels_of
from pipeline.config.of_task import of_task
from pipeline.config.sections import Config
from pipeline.datasets.formats import as_frame
from pipeline.errors import ConfigError, ContractError
from pipeline.evaluation.answer_pairs import ABOUT
from pipeline.evaluation.checked_rows import other_labels, sentence_about, truth_of
from pipeline.flow import Result
from pipeline.promotion.shadow import conclude, latest, of_versions
from pipeline.promotion.stored_model import of_version
from pipeline.tracking import model_files, runs
from pipeline.verbs import Options

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from pipeline.datasets.sources import Source

log = logging.getLogger(__name__)


def monitor(config: Config, options: Options, table: "pd.DataFrame | None" = None) -> Result:
    """Compares the versions of the latest line of `serve.shadow_log`, `options.data` or the table.

    The log is held in memory. The exit status is 4 where labels do not show that the shadow is as
    good as the champion. Raises ConfigError, SourceError, ContractError, RegistryError, ModelError.
    """
    for option in ("model", "retrain"):
        if getattr(options, option):
            raise ConfigError(f"--shadow compares the versions of its log; leave --{option} out")
    name = options.data or config.serve.shadow_log
    if not name:
        raise ConfigError("serve.shadow_log is null, which --shadow reads; name a log with --data")
    source = source_of(config.data, name, table)
    whole = _read(source, name)
    versions = latest(as_frame(whole.select(["time", "champion", "shadow"])))
    champion, shadow = (
        version_at(config, f"models:/{config.registry.model}/{one}") for one in versions
    )
    with (
        model_files.cached(),
        of_version(champion) as first,
        of_version(shadow) as second,
        runs.parent_run("monitor", str(shadow.name)) as run_id,
    ):
        runs.close_killed()
        contract = first.predictor.contract
        late, target = labels_of(config, options, whole.column_names, contract.target)
        whole = pa.concat_tables(late.join(iter([whole]))) if late else whole
        frame = as_frame(whole)
        is_of_both = of_versions(frame, versions)
        all_truth = truth_of(contract, whole, target)
        concluded = conclude(
            of_task(config, contract.task),
            versions,
            (first.predictor, second.predictor),
            frame[is_of_both],
            all_truth[is_of_both],
        )
        report = concluded.report
        log_input(whole, whole.num_rows, name, source.digest(), "monitoring")
        for model in (first, second):
            runs.use_model(run_id, model.model_id)
        runs.log_artifacts(run_id, report.artifacts)
        about = tags(shadow, second, source.digest(), f"beside v{versions.champion}")
        params = {"data": name, "model": title(shadow), "champion": title(champion)}
        runs.log(run_id, params, report.metrics, {**about, runs.NOTE: report.note})
        run = runs.active()
    log.info("%s", closing.text(run, str(shadow.name), None, None))
    if late is not None:
        log.info("%d of %d rows have a label in %s", late.joined, len(frame), options.labels)
    if unknown := sentence_about(contract, other_labels(contract, whole, target, all_truth)):
        log.info("%s", unknown)
    if others := int((~is_of_both).sum()):
        log.info("%d rows of other versions are left out", others)
    log.info("%s: %s", name, report.note)
    if concluded.may_be_promoted:
        log.info("%s", _promotion(shadow, options))
    return Result(run_id, report.metrics, {}, None, BEYOND * (concluded.may_be_promoted is False))


def _read(source: "Source", name: str) -> pa.Table:
    """All of the log. Raises ContractError for a table that is none."""
    first, batches = begin(source, name)
    missing = [column for column in ABOUT if column not in first.column_names]
    if missing:
        raise ContractError(
            f"data {name!r} has no column {missing[0]!r}, and is no shadow log: a server with "
            "serve.shadow writes one"
        )
    return pa.concat_tables(batches, promote_options="permissive")


def _promotion(shadow: "ModelVersion", options: Options) -> str:
    command = closing.promotion(str(shadow.run_id), options)
    return f"the gate decides on version {shadow.version} with:\n  {command}"
