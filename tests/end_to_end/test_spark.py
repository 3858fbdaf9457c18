"""The search on Spark's `local[2]`, where PySpark and Java are there."""

import importlib.util
import shutil
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.end_to_end.conftest import Run as RunCommand
from tests.support.stores import experiments

LACKING = [
    *(["PySpark (requirements-spark.txt)"] if importlib.util.find_spec("pyspark") is None else []),
    *(["java"] if shutil.which("java") is None else []),
]
COMMAND = ("python", "-m", "pipeline", "tune", "configs/pima.yaml", "--tune.backend", "spark")
COMMAND += ("--spark.master", "local[2]", "--tune.trial_timeout", "60")
COMMAND += ("--tune.families", "[logistic_regression, raw_logistic_regression, broken]")
COMMAND += ("--tune.estimators", "{broken: {estimator: broken.Broken}}")


@pytest.mark.spark
@pytest.mark.skipif(bool(LACKING), reason=f"needs {' and '.join(LACKING)}")
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
