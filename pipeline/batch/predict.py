"""`predict`: a verified model's answers for all rows of a source, in a file and in a run."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from tqdm import tqdm

from pipeline import closing
from pipeline.batch.common import (
    BATCH,
    CELLS,
    begin,
    log_input,
    profile_of,
    source_of,
    tags,
    title,
    version_at,
)
from pipeline.config.sections import Config
from pipeline.datasets.answer_files import AnswerFile
from pipeline.datasets.sources import stem
from pipeline.errors import ConfigError
from pipeline.evaluation.checked_rows import in_order
from pipeline.evaluation.profile import Counts, Profile, add_counts
from pipeline.flow import Result
from pipeline.inference import manifest
from pipeline.models.import_paths import check_spark
from pipeline.promotion.stored_model import StoredModel, of_version
from pipeline.results import Report
from pipeline.schema.faults import Fault, contract_error
from pipeline.steps.predict import Batch, Scorer, report
from pipeline.tracking import model_files, runs
from pipeline.verbs import Options

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
REJECTED = 3  # exit status where rows were rejected
# From a model's folder, the scorer, batches and the file, which has what was scored before a kill.
InOrder = Callable[[Path, Scorer, Iterable[pa.Table], AnswerFile], Iterator[Batch]]


@dataclass
class _Counts:
    """What came of the rows."""

    scored: int = 0
    rejected: int = 0
    answers: dict[str, Counts] = field(default_factory=dict)  # by the bins of the model's profile

    def add(self, scored: int, rejected: int, answers: Mapping[str, Counts]) -> None:
        """The rows of a part."""
        self.scored += scored
        self.rejected += rejected
        add_counts(self.answers, answers)

    @property
    def rows(self) -> int:
        """All of them."""
        return self.scored + self.rejected

    @property
    def metrics(self) -> dict[str, float]:
        """By their names in the run."""
        return {"rows": self.rows, "rows_scored": self.scored, "rows_rejected": self.rejected}


def predict(config: Config, options: Options, table: "pd.DataFrame | None" = None) -> Result:
    """Scores `options.data`, or the table, into `options.output`.

    With the champion, or with `options.model`.

    Raises ConfigError, SourceError, ContractError for columns that are missing, RegistryError,
    ModelError.
    """
    output, score = _output(options), _engine(config, options)
    source = source_of(config.data, options.data, table)
    registered = version_at(config, options.model)
    with model_files.cached(), of_version(registered) as model:
        first, batches = begin(source, options.data)
        scorer = _scorer(model, str(registered.version), first, options)
        digests = [source.digest(), manifest.digest(manifest.of(model.folder))]
        mark = [*digests, BATCH, CELLS, options.strict, *scorer.keep]
        # The parts go last of all: whenever the process is killed, the next one goes on.
        with output.opened(mark, options.force):
            start = time.perf_counter()
            with runs.parent_run("predict", str(registered.name)) as run_id:
                runs.close_killed()
                profile, counts = profile_of(model), _Counts()
                scored = score(model.folder, scorer, batches, output)
                output.write(_counted(scored, scorer, profile, counts, options))
                seconds = time.perf_counter() - start
                spread = report(profile, counts.answers) if profile and counts.scored else Report()
                metrics = {**counts.metrics, **spread.metrics, "seconds": seconds}
                note = _note(output, counts, title(registered))
                log_input(first, counts.rows, options.data, source.digest(), "scoring")
                runs.use_model(run_id, model.model_id)
                runs.log_artifacts(run_id, spread.artifacts)
                about = tags(registered, model, source.digest(), f"predicted {counts.scored}")
                params = {
                    "data": options.data,
                    "output": options.output,
                    "model": title(registered),
                }
                runs.log(run_id, params, metrics, {**about, runs.NOTE: note})
                run = runs.active()
            log.info("%s\n%s", note, closing.text(run, str(registered.name), None, None))
    return Result(run_id, metrics, {}, None, REJECTED if counts.rejected else 0)


def _output(options: Options) -> AnswerFile:
    """The file of answers. Raises ConfigError for the source, whose rejected rows would go."""
    if os.path.realpath(options.output) == os.path.realpath(options.data):
        raise ConfigError(f"--output is {options.output!r}, which is --data too; name another file")
    return AnswerFile(options.output)


def _engine(config: Config, options: Options) -> InOrder:
    """What scores the batches. Raises ConfigError for one that is not there."""
    if options.engine == "spark":
        check_spark("--engine is 'spark'", "leave --engine out")
        from pipeline.batch import spark_scoring  # PySpark is not everybody's

        return partial(spark_scoring.in_order, config.spark)
    if options.engine != "local":
        raise ConfigError(f"--engine is {options.engine!r}; it must be local or spark")
    return on_this_machine


def on_this_machine(
    _: Path, scorer: Scorer, batches: Iterable[pa.Table], output: AnswerFile
) -> Iterator[Batch]:
    """Each batch with its answers, on all cores, in order."""

    def score(table: pa.Table, start: int) -> Batch:
        checked, answers = scorer.check(table, start), output.part(start)
        if answers is None:
            answers = scorer.answers(checked.X)
            output.keep(start, answers)
        return scorer.batch(checked, answers)

    return in_order(score, batches)


def _scorer(model: StoredModel, version: str, first: pa.Table, options: Options) -> Scorer:
    keep = [name.strip() for name in options.keep.split(",")] if options.keep else None
    scorer = Scorer(model.predictor, version, first.column_names, keep)
    if scorer.renamed:
        names = ", ".join(scorer.renamed)
        log.info("the source has columns of answers' names; the answers are %s", names)
    return scorer


def _counted(
    scored: Iterable[Batch],
    scorer: Scorer,
    profile: Profile | None,
    counts: _Counts,
    options: Options,
) -> Iterator[tuple[pa.Table, list[Fault]]]:
    """The answers and faults of each batch, which are counted, with a progress bar.

    Raises ContractError for a row that breaks the contract, if strict.
    """
    name = f"predict {stem(options.data)}"
    with tqdm(desc=name, unit=" rows", unit_scale=True, disable=None) as bar:
        for answers, faults, rejected in scored:
            if faults and options.strict:
                raise contract_error(faults, with_values=True)
            counted = scorer.count(profile, answers) if profile else {}
            counts.add(answers.num_rows, rejected, counted)
            yield answers, faults
            bar.update(answers.num_rows + rejected)


def _note(output: AnswerFile, counts: _Counts, model: str) -> str:
    note = f"{output.path}: {counts.scored} rows scored by {model}"
    if counts.rejected:
        note += f"; {counts.rejected} rows break its contract: see {output.rejected}"
    return note
