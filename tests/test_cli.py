"""A command ends with a status, a sentence for a mistake, and the run that it leaves."""

import logging
import os

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline import api, cli, flow
from pipeline.batch import monitor, predict
from pipeline.doctor import examine
from pipeline.errors import ContractError
from pipeline.flow import Result
from pipeline.server import serve as server
from pipeline.tracking import runs
from pipeline.tuning import worker_pool
from pipeline.verbs import VERBS, Options
from tests.support.words import IDS, required, words_of

MISTAKE = 2


@pytest.fixture(autouse=True)
def _no_workers(monkeypatch):
    """They would be started for searches that these tests never make."""
    monkeypatch.setattr(worker_pool, "warm_up", lambda tune: None)
    monkeypatch.setattr(worker_pool, "stop", lambda: None)


@pytest.fixture(autouse=True)
def _log_level():
    """`main` sets it for the program's life."""
    log = logging.getLogger("pipeline")
    level = log.level
    yield
    log.setLevel(level)


@pytest.fixture
def calls(monkeypatch):
    """What `main` would have run: (verb, config, options), without options where none count."""
    calls = []

    def called(*call):
        calls.append(call)
        return Result("run", {}, {}, None)

    monkeypatch.setattr(flow, "run", lambda *call: called(*call[:3]))
    monkeypatch.setattr(flow, "rollback", lambda *call: called("rollback", *call))
    monkeypatch.setattr(flow, "history", lambda config: calls.append(("history", config, None)))
    for module in (predict, monitor):
        verb = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(module, verb, lambda *call, verb=verb: called(verb, *call[:2]))
    monkeypatch.setattr(examine, "doctor", lambda *call: [calls.append(("doctor", *call)), 0][1])
    monkeypatch.setattr(server, "serve", lambda config: calls.append(("serve", config, None)))
    return calls


@pytest.fixture
def recorded(monkeypatch):
    """The mistakes that `main` would have recorded in MLflow: (verb, message)."""
    recorded = []
    monkeypatch.setattr(runs, "record_failure", lambda *mistake: recorded.append(mistake))
    return recorded


@pytest.mark.parametrize("verb", [verb for verb in VERBS if VERBS[verb].reads_config])
def test_each_verb_runs_with_the_default_config(calls, verb):
    ids = IDS if VERBS[verb].arguments else ()
    assert cli.main([verb, *words_of(verb)]) == 0
    ((ran, config, options),) = calls
    assert (ran, config.registry.model) == (verb, "pima-diabetes")
    expected = Options(runs=ids, **required(verb))
    assert options == (None if verb in ("history", "serve") else expected)


def test_options_override_the_config(calls):
    words = ["--tune.max_evals", "7", "--data.columns.Age.range", "[0, 99]", "--fresh"]
    words += ["--data.columns.Age.missing", "-1", "--registry.model", "2024"]
    assert cli.main(["tune", "configs/tutorial.yaml", *words]) == 0
    ((_, config, options),) = calls
    assert (config.tune.max_evals, config.registry.model) == (7, "2024")
    assert (config.data.columns["Age"].range, config.data.columns["Age"].missing) == ((0, 99), -1)
    assert options == Options(fresh=True)


def test_option_overrides_the_environment(calls, monkeypatch):
    monkeypatch.setenv("PIPELINE_SERVE_PORT", "9001")
    monkeypatch.setenv("PIPELINE_SERVE_WORKERS", "4")
    assert cli.main(["serve", "--serve.port", "9002"]) == 0
    serve = calls[0][1].serve
    assert (serve.port, serve.workers) == (9002, 4)


@pytest.mark.parametrize(
    ("words", "searches"),
    [
        *[([verb], 1) for verb in ("run", "tune", "train", "evaluate", "promote", "audit")],
        *[([verb], 0) for verb in ("ingest", "analyze", "rollback", "history", "serve")],
        (["compare", "a", "b"], 0),
        (["promote", "--run", "abc"], 0),
    ],
    ids=str,
)
def test_workers_are_warmed_up_where_something_may_be_searched(calls, monkeypatch, words, searches):
    warmed = []
    monkeypatch.setattr(worker_pool, "warm_up", warmed.append)
    assert cli.main(words) == 0
    assert (len(calls), len(warmed)) == (1, searches)


# Mistakes.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["configs/nope.yaml"], "config 'configs/nope.yaml' does not exist; there are configs/"),
        (["--tune.max_evals", "lots"], "tune.max_evals is 'lots'; it should be a valid integer"),
        (["--tune.max_evls", "3"], "tune.max_evls is not a setting, did you mean 'max_evals'?"),
        (["--tune.families", "[svc"], "tune.families is '[svc'; it must be a value in YAML"),
        (["--max_evals", "3"], "--max_evals is not an option of tune, did you mean '--tune.max_"),
    ],
)
def test_mistake_is_one_message_recorded_once_and_ends_with_status_2(
    calls, recorded, capsys, words, message
):
    assert cli.main(["tune", *words]) == MISTAKE
    ((verb, note),) = recorded
    assert verb == "tune"
    assert message in note
    assert capsys.readouterr() == ("", f"error: {note}\n")
    assert calls == []


def test_misspelt_verb_gets_the_nearest_and_status_2(calls, recorded, capsys):
    assert cli.main(["tuen", "--tune.seed", "3"]) == MISTAKE
    assert capsys.readouterr() == ("", "error: 'tuen' is not a verb, did you mean 'tune'?\n")
    assert (calls, recorded) == ([], [])


def test_all_mistakes_of_a_config_are_in_one_message(recorded, capsys):
    cli.main(["tune", "--tune.max_evals", "lots", "--serve.prt", "1", "--split.seed", "-1"])
    message = capsys.readouterr().err
    assert all(name in message for name in ("tune.max_evals is", "serve.prt is", "split.seed is"))


@pytest.mark.parametrize("verb", ["ingest", "rollback", "history"])
def test_mistake_of_a_verb_is_printed_without_a_second_record(monkeypatch, recorded, capsys, verb):
    def fail(*_):
        raise ContractError("row 1, Age: must be finite")

    monkeypatch.setattr(flow, verb if verb in ("rollback", "history") else "run", fail)

    assert cli.main([verb]) == MISTAKE
    assert capsys.readouterr().err == "error: row 1, Age: must be finite\n"
    assert recorded == []


def test_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(flow, "run", fail)

    with pytest.raises(ZeroDivisionError):
        cli.main(["ingest"])


def test_interrupt_says_how_to_go_on_and_ends_with_its_status(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(flow, "run", interrupt)

    assert cli.main(["tune"]) == 130
    message = "interrupted; the same command goes on from what has finished\n"
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize("name", cli.REPEATING)
def test_error_that_is_printed_once_is_not_logged_beside(calls, caplog, name):
    cli.main(["ingest"])
    logging.getLogger(name).error("database or disk is full", exc_info=ValueError("twice"))
    logging.getLogger(name).warning("will try again")
    assert caplog.messages == ["will try again"]


def test_password_in_the_address_of_the_store_is_out_of_sight(calls, monkeypatch):
    for variable in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{variable}", "other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:s%40cret@host:5000/team")
    cli.main(["ingest"])
    assert os.environ["MLFLOW_TRACKING_URI"] == "https://host:5000/team"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "ann"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "s@cret"


# Mistakes in MLflow.


def test_mistake_of_a_step_leaves_one_failed_run_with_the_message_as_its_note(store, capsys):
    assert cli.main(["ingest", "--data.target", "Nope"]) == MISTAKE
    message = capsys.readouterr().err.partition("error: ")[2].rstrip("\n")
    (run,) = mlflow.search_runs(
        filter_string="tags.verb = 'ingest'", output_format="list", search_all_experiments=True
    )
    assert run.info.status == "FAILED"
    assert run.data.tags["mlflow.note.content"] == message
    assert "Nope" in message
    assert mlflow.active_run() is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--tune.space.svc.gama", "{uniform: [0, 1]}"),
            "tune.space.svc.gama is no parameter of svc, did you mean 'gamma'?",
        ),
        (("--data.source", "nope.csv"), "data.source 'nope.csv' does not exist in "),
    ],
)
def test_command_that_is_refused_before_any_step_leaves_no_run(store, capsys, words, message):
    assert cli.main(["tune", *words]) == MISTAKE
    assert message in capsys.readouterr().err
    runs = mlflow.search_runs(
        filter_string="tags.verb = 'tune'", output_format="list", search_all_experiments=True
    )
    assert runs == []


def test_mistake_before_any_step_is_noted_on_the_run_that_mlflow_run_made(
    store, monkeypatch, capsys
):
    made = MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    assert cli.main(["tune", "--tune.max_evals", "lots"]) == MISTAKE

    message = capsys.readouterr().err.partition("error: ")[2].rstrip("\n")
    run = mlflow.get_run(made)
    assert run.info.status == "FAILED"
    assert run.data.tags["mlflow.note.content"] == message
    assert "tune.max_evals is 'lots'; it should be a valid int" in message
    assert mlflow.active_run() is None


def test_mistake_before_any_step_makes_no_run(store, capsys):
    before = mlflow.search_runs(output_format="list")
    assert cli.main(["tune", "--tune.max_evals", "lots"]) == MISTAKE
    assert "tune.max_evals is 'lots'; it should be a valid int" in capsys.readouterr().err
    assert len(mlflow.search_runs(output_format="list")) == len(before)


def test_mistake_in_the_environment_is_printed_beside_the_one_in_the_config(
    store, monkeypatch, capsys
):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "999")
    assert cli.main(["tune", "--split.seed", "x"]) == MISTAKE
    message = capsys.readouterr().err
    assert "split.seed is 'x'; it should be a valid integer" in message
    assert "MLFLOW_EXPERIMENT_ID is '999', and there is no such experiment" in message


def test_verbs_without_steps_are_those_that_run_otherwise():
    others = {v for v in VERBS if not VERBS[v].is_step and VERBS[v].reads_config}
    assert set(api.COMMANDS) == others - {"run"}
