"""`predict`: a verified model's answers for all rows of a source, in a file and in a run."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from tqdm import tqdm

from pipeline import closing
from pipeline.batch.common import begin, log_input, source_of, tags, title, version_at
from pipeline.config.sections import Config
from pipeline.datasets.answer_files import AnswerFile
from pipeline.datasets.sources import stem
from pipeline.evaluation.checked_rows import in_order
from pipeline.flow import Result
from pipeline.inference import manifest
from pipeline.promotion.challenger import StoredModel, of_version
from pipeline.schema.faults import contract_error
from pipeline.steps.predict import Scorer
from pipeline.tracking import model_files, runs
from pipeline.verbs import Options

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
REJECTED = 3  # exit status where rows were rejected


@dataclass
class _Counts:
    """What came of the rows."""

    scored: int = 0
    rejected: int = 0

    def add(self, answers: pa.Table, rejected: int) -> None:
        """The rows of a part."""
        self.scored += answers.num_rows
        self.rejected += rejected

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
    output = AnswerFile(options.output)
    source = source_of(config.data, options.data, table)
    registered = version_at(config, options.model)
    with model_files.cached(), of_version(registered) as model:
        first, batches = begin(source, options.data)
        scorer = _scorer(model, str(registered.version), first, options)
        mark = [source.digest(), manifest.digest(manifest.of(model.folder)), *scorer.keep]
        # The parts go last of all: whenever the process is killed, the next one goes on.
        with output.opened(mark, options.force) as done:
            start = time.perf_counter()
            with runs.parent_run("predict", str(registered.name)) as run_id:
                runs.close_killed()
                counts = _score(scorer, batches, output, options, done)
                metrics = {**counts.metrics, "seconds": time.perf_counter() - start}
                note = _note(output, counts, title(registered))
                log_input(first, counts.rows, options.data, source.digest(), "scoring")
                runs.use_model(run_id, model.model_id)
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


def _scorer(model: StoredModel, version: str, first: pa.Table, options: Options) -> Scorer:
    keep = [name.strip() for name in options.keep.split(",")] if options.keep else None
    scorer = Scorer(model.predictor, version, first.column_names, keep)
    if scorer.renamed:
        log.info("the source has columns of answers' names: those are %s", scorer.renamed)
    return scorer


def _score(
    scorer: Scorer,
    batches: Iterator[pa.Table],
    output: AnswerFile,
    options: Options,
    done: frozenset[int],
) -> _Counts:
    """Writes the answers. Raises ContractError for a row that breaks the contract, if strict."""
    counts = _Counts()
    with _bar(options.data) as bar:
        for place, batch in in_order(scorer.score, batches, done):
            if batch.faults and options.strict:
                raise contract_error(batch.faults, with_values=True)
            output.write(place, *batch)
            bar.update(batch.answers.num_rows + batch.rejected)
    output.join(counts.add)
    return counts


@contextmanager
def _bar(source: str) -> Iterator["tqdm[None]"]:
    with tqdm(desc=f"predict {stem(source)}", unit=" rows", unit_scale=True, disable=None) as bar:
        yield bar


def _note(output: AnswerFile, counts: _Counts, model: str) -> str:
    note = f"{output.path}: {counts.scored} rows scored by {model}"
    if counts.rejected:
        note += f"; {counts.rejected} rows break its contract: see {output.rejected}"
    return note
