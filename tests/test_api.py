"""`from pipeline import run`: what a notebook calls, which leaves nothing behind but runs."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest
from sklearn.base import is_classifier

import pipeline
from pipeline.api import _yaml
from pipeline.config.paths import PROJECT
from pipeline.errors import ConfigError, PipelineError, SourceError
from pipeline.verbs import VERBS
from tests.support.builders import make_table

TWO_WORKERS = {"tune.parallelism": 2}
CONFIG = """
data:
  source: {source}
  target: label
  positive: 1
  columns: {{height: {{}}, gap: {{optional: true}}, noise: {{}}, flag: {{range: [0, 1]}}}}
tune: {{families: [logistic_regression], max_evals: 2, folds: 2, parallelism: 1}}
evaluate: {{resamples: 100}}
gate: {{dummy: false, calibration: null}}
registry: {{model: people}}
"""


@pytest.fixture(scope="module")
def config(store: Path) -> Path:
    """Of a small table."""
    make_table().to_csv(store / "people.csv", index=False)
    (store / "people.yaml").write_text(CONFIG.format(source=store / "people.csv"))
    return store / "people.yaml"


@pytest.fixture(scope="module")
def result(config):
    return pipeline.run(config, TWO_WORKERS, verb="promote")


def state():
    """What a call may not change."""
    children = psutil.Process().children(recursive=True)
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "environment": dict(os.environ),
        "processes": {
            child.pid
            for child in children
            if "resource_tracker" not in " ".join(child.cmdline())  # Python's own, one for all
        },
        "run": mlflow.active_run(),
        "logging": (
            list(logging.root.handlers),
            logging.root.level,
            logging.getLogger("pipeline").level,
            list(logging.getLogger("pipeline").handlers),
        ),
        "modules' places": list(sys.path),
        "folder": Path.cwd(),
        "random": np.random.get_state()[1].tolist(),  # noqa: NPY002
    }


def test_result_has_run_metrics_steps_model_and_decision(result):
    run = mlflow.get_run(result.run_id)
    assert (run.info.status, run.data.tags["verb"]) == ("FINISHED", "promote")
    assert run.data.metrics.items() <= result.metrics.items()
    assert 0 < result.metrics["test/roc_auc"] <= 1
    assert list(result.steps) == ["ingest", "tune", "train", "evaluate", "promote"]
    assert is_classifier(result.model)
    assert result.model.predict(make_table().drop(columns="label")).shape == (120,)
    assert (result.decision.action, result.decision.version) == ("promoted", "1")
    assert "people: version 1 is champion now" in result.decision.sentence


def test_result_is_read_only(result):
    with pytest.raises(AttributeError):
        result.run_id = "another"


def test_second_call_reuses_the_steps_and_leaves_the_world_as_it_was(config, result):
    before, threads = state(), set(threading.enumerate())
    again = pipeline.run(config, TWO_WORKERS, verb="promote")
    assert state() == before
    assert set(threading.enumerate()) <= threads
    assert again.steps["train"] == result.steps["train"]
    assert again.run_id != result.run_id
    assert again.decision.action == "unchanged"


def test_changed_setting_reruns_from_its_step_on_and_says_why(config, result, caplog):
    caplog.set_level(logging.INFO, "pipeline")
    other = pipeline.run(config, {"train.threshold": 0.3}, verb="train")
    assert f"tune: reused from run {result.steps['tune']}" in caplog.messages
    assert "train runs again: train.threshold auto -> 0.3" in caplog.messages
    assert other.steps["train"] != result.steps["train"]
    caplog.clear()
    pipeline.run(config, verb="ingest", fresh=True)
    assert "ingest runs: fresh was asked for" in caplog.messages


def test_data_frame_takes_the_place_of_the_source(config, result):
    table = make_table().assign(flag=0.0)
    of_frame = pipeline.run(config, verb="ingest", data=table)
    run = mlflow.get_run(of_frame.steps["ingest"])
    assert run.inputs.dataset_inputs[0].dataset.name == "data frame"
    assert (
        run.data.tags["data_digest"]
        != mlflow.get_run(result.steps["ingest"]).data.tags["data_digest"]
    )
    assert pipeline.run(config, verb="ingest", data=table.copy()).steps == of_frame.steps
    with pytest.raises(ConfigError, match="rollback reads no data"):
        pipeline.run(config, verb="rollback", data=table)


def test_search_leaves_the_world_as_it_was(config, result):
    before, threads = state(), set(threading.enumerate())
    search = {"tune.max_evals": 4, "tune.seed": np.int64(5), **TWO_WORKERS}
    other = pipeline.run(config, search, verb="tune")
    assert state() == before
    left = set(threading.enumerate()) - threads
    assert not {thread for thread in left if not thread.name.startswith("Mlflow")}  # one idles
    assert other.metrics["trials"] == 4
    assert (other.model, other.decision) == (None, None)


def test_mistake_is_an_exception_with_the_sentence_of_the_command_line(config, result):
    before = state()
    with pytest.raises(ConfigError, match=r"tune\.max_evls is not a setting, did you mean"):
        pipeline.run(config, {"tune.max_evls": 3})
    with pytest.raises(SourceError, match=r"data\.source 'nope\.csv' does not exist"):
        pipeline.run(config, {"data.source": "nope.csv", "tune.seed": 77}, verb="tune")
    assert state() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"verb": "tuen"}, "'tuen' is not a verb, did you mean 'tune'?"),
        ({"verb": "tune", "dry_run": True}, "--dry-run is an option of promote, not of tune"),
        (
            {"verb": "tune", "frehs": True},
            "--frehs is not an option of tune, did you mean '--fresh",
        ),
        ({"verb": "compare", "runs": ["a"]}, "compare takes two runs"),
        ({"config": "configs/nope.yaml"}, "config 'configs/nope.yaml' does not exist"),
        *[
            (
                {"verb": verb},
                f"{verb} leaves no run; start it in a shell: python -m pipeline {verb}",
            )
            for verb, row in VERBS.items()
            if not row.opens_run
        ],
    ],
    ids=str,
)
def test_call_that_cannot_be_read_is_refused(words, message):
    with pytest.raises(PipelineError) as error:
        pipeline.run(**words)
    assert message in str(error.value)


def test_run_of_the_callers_own_gets_the_commands_run_as_a_child(config, result):
    number = mlflow.create_experiment("notebook")
    with mlflow.start_run(experiment_id=number) as outer:
        nested = pipeline.run(config, verb="ingest")
        assert mlflow.active_run().info.run_id == outer.info.run_id
    child = mlflow.get_run(nested.run_id)
    assert child.data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert child.info.experiment_id == outer.info.experiment_id
    assert mlflow.get_run(outer.info.run_id).info.status == "FINISHED"


def test_thread_and_a_running_event_loop_will_do(config, result):
    """A notebook's cell runs in a loop."""

    async def cell():
        return pipeline.run(config, TWO_WORKERS, verb="promote")

    assert asyncio.run(cell()).decision.action == "unchanged"
    results = []
    thread = threading.Thread(target=lambda: results.append(pipeline.run(config, verb="promote")))
    thread.start()
    thread.join()
    assert results[0].decision.action == "unchanged"


def test_rollback_says_what_became_of_the_registry(config, result):
    name, space = {"registry.model": "drill", "gate.rule": "none"}, "tune.space"
    for number, C in enumerate((0.01, 1.0), start=1):
        overrides = {**name, space: {"logistic_regression": {"C": C, "transform": "standard"}}}
        promoted = pipeline.run(config, overrides, verb="promote")
        assert (promoted.decision.action, promoted.decision.version) == ("promoted", str(number))
    back = pipeline.run(config, name, verb="rollback", reason="a drill")
    assert (back.decision.action, back.decision.version) == ("rolled back", "1")
    assert mlflow.get_run(back.run_id).data.tags["reasons"] == "a drill"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (20, "20"),
        (None, "null"),
        (True, "true"),
        ("[a, b]", "[a, b]"),
        (("a", "b"), '["a", "b"]'),
        ({"roc_auc": 0.7}, '{"roc_auc": 0.7}'),
        (Path("data/pima.csv"), '"data/pima.csv"'),
        (np.float64(0.5), "0.5"),
    ],
)
def test_setting_is_a_value_or_a_text_in_yaml(value, text):
    assert _yaml(value) == text


def test_package_is_imported_without_the_libraries_that_take_seconds():
    program = "import sys, pipeline; print(*sys.modules); pipeline.run; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    bare, with_run = (set(line.split()) for line in done.stdout.splitlines())
    assert not {"pipeline.api", "pydantic"} & bare
    assert "pipeline.api" in with_run
    assert not {"mlflow", "sklearn", "pandas"} & with_run
    assert not hasattr(pipeline, "absent")
