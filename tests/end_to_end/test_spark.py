"""The search, and the answers for a table, on Spark's `local[2]`, where PySpark and Java are."""

import importlib.util
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from pipeline.batch.predict import on_this_machine
from pipeline.config.sections import Spark
from pipeline.datasets.answer_files import AnswerFile
from pipeline.inference import model_folder
from pipeline.steps.predict import Scorer
from tests.end_to_end.conftest import Run as RunCommand
from tests.support import model_folders
from tests.support.mixed import make_mixed_dataset, make_mixed_table
from tests.support.stores import experiments
from tests.support.tables import make_data, source_of

LACKING = [
    *(["PySpark (requirements-spark.txt)"] if importlib.util.find_spec("pyspark") is None else []),
    *(["java"] if shutil.which("java") is None else []),
]
COMMAND = ("python", "-m", "pipeline", "tune", "configs/pima.yaml", "--tune.backend", "spark")
COMMAND += ("--spark.master", "local[2]", "--tune.trial_timeout", "60")
COMMAND += ("--tune.families", "[logistic_regression, raw_logistic_regression, broken]")
COMMAND += ("--tune.estimators", "{broken: {estimator: broken.Broken}}")
pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(bool(LACKING), reason=f"needs {' and '.join(LACKING)}"),
]


def test_search_on_spark_leaves_the_same_child_runs_and_goes_on(
    run: RunCommand, project: Path
) -> None:
    (project / "broken.py").write_text(
        "from sklearn.dummy import DummyClassifier\n"
        "class Broken(DummyClassifier):\n"
        "    def fit(self, X, y, sample_weight=None):\n"
        "        raise ValueError('no way')\n"
    )
    first = run(*COMMAND, "--tune.max_evals", "5")
    assert first.returncode == 0, first.stderr
    again = run(*COMMAND, "--tune.max_evals", "7")
    assert again.returncode == 0, again.stderr
    assert "tune goes on: 5 of 7 trials have finished and are read back" in again.stdout

    store = MlflowClient(f"sqlite:///{project}/mlflow.db")
    broken = store.search_runs(experiments(store), "params.family = 'broken'")
    (search,) = {trial.data.tags["search"] for trial in broken}
    trials = store.search_runs(experiments(store), f"tags.search = '{search}'")
    assert Counter(int(trial.data.tags["trial"]) for trial in trials) == Counter(range(7))
    for trial in trials:
        if trial.data.params["family"] == "broken":
            assert trial.info.status == "FAILED"
            assert trial.data.tags["mlflow.note.content"] == "ValueError: no way"
        else:
            assert trial.info.status == "FINISHED"
            assert 0 < trial.data.metrics["cv/log_loss"] < 0.7
    parents = {trial.data.tags["mlflow.parentRunId"] for trial in trials}
    tunes = sorted((store.get_run(p) for p in parents), key=lambda step: step.info.start_time)
    assert [tune.data.metrics["trials"] for tune in tunes] == [5, 7]
    assert [tune.data.metrics["trials_read_back"] for tune in tunes] == [0, 5]


def test_table_is_answered_on_spark_as_it_is_here(run: RunCommand, project: Path) -> None:
    """With the same columns, rejected rows and exit status; and whole or not at all."""
    train = ("python", "-m", "pipeline", "promote", "--registry.model", "scored")
    train += ("--tune.families", "[logistic_regression]", "--tune.max_evals", "1")
    assert run(*train).returncode == 0
    rows = pd.read_csv(project / "data/pima.csv", dtype="str")
    rows.loc[[4, 700], "Age"] = ["old", "500"]
    rows.to_csv(project / "rows.csv", index=False)
    predict = ("python", "-m", "pipeline", "predict", "--registry.model", "scored")
    spark = ("--engine", "spark", "--spark.master", "local[2]")
    for name, engine in {"here": (), "there": spark}.items():
        done = run(*predict, "--data", "rows.csv", "--output", f"{name}.parquet", *engine)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "2 rows break its contract" in done.stdout

    assert pq.read_table(project / "there.parquet").equals(pq.read_table(project / "here.parquet"))
    rejected = [(project / f"{name}.rejected.csv").read_text() for name in ("here", "there")]
    assert rejected[0] == rejected[1]
    strict = run(*predict, "--data", "rows.csv", "--output", "no.parquet", *spark, "--strict")
    assert (strict.returncode, (project / "no.parquet").exists()) == (2, False)
    assert "row 5, Age: must be a number" in strict.stderr


def test_rows_of_every_kind_of_column_are_answered_on_spark_as_they_are_here(
    tmp_path: Path,
) -> None:
    from pipeline.batch import spark_scoring

    dataset = make_mixed_dataset(with_texts=True)
    folder = model_folders.save(tmp_path / "model", dataset, is_compiled=False)
    table = make_mixed_table(200, seed=1).assign(id=range(200))
    table.loc[[7, 150], "number"] = ["high", "500"]
    batches = list(
        source_of(make_data(target="label"), table.to_csv(index=False).encode()).batches(60)
    )
    scorer = Scorer(model_folder.load(folder), "7", batches[0].column_names, ["id"])

    output = AnswerFile(str(tmp_path / "scores.parquet"))
    with output.opened("rows", False):
        here = list(on_this_machine(folder, scorer, batches, output))
        for start in (0, 120):  # as if the process had been killed before
            (output.folder / f"{start}.arrow").unlink()
        there = list(
            spark_scoring.in_order(Spark(master="local[2]"), folder, scorer, batches, output)
        )

    assert sum(batch.rejected for batch in here) > 2
    for one, other in zip(here, there, strict=True):
        assert other.answers.schema == one.answers.schema
        assert (other.faults, other.rejected) == (one.faults, one.rejected)
        pd.testing.assert_frame_equal(other.answers.to_pandas(), one.answers.to_pandas())
