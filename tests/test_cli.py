import logging
import os
import subprocess
import sys

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline import cli, flow
from pipeline.config.load import PROJECT, settings
from pipeline.errors import ContractError
from pipeline.options import Options
from pipeline.server import serve as server
from pipeline.tracking import runs as tracking
from pipeline.tuning import worker_pool as workers

MISTAKE = 2


@pytest.fixture(autouse=True)
def _no_workers(monkeypatch):
    """They would be started for searches that these tests never make."""
    monkeypatch.setattr(workers, "warm_up", lambda tune: None)
    monkeypatch.setattr(workers, "stop", lambda: None)


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
    monkeypatch.setattr(flow, "run", lambda *call: calls.append(call))
    monkeypatch.setattr(
        flow, "rollback", lambda config, options: calls.append(("rollback", config, options))
    )
    monkeypatch.setattr(flow, "history", lambda config: calls.append(("history", config, None)))
    monkeypatch.setattr(server, "serve", lambda config: calls.append(("serve", config, None)))
    return calls


@pytest.fixture
def recorded(monkeypatch):
    """The mistakes that `main` would have recorded in MLflow: (verb, message)."""
    recorded = []
    monkeypatch.setattr(tracking, "record_failure", lambda *mistake: recorded.append(mistake))
    return recorded


# Options.


@pytest.mark.parametrize("verb", cli.VERBS)
def test_each_verb_runs_with_the_default_config(calls, verb):
    runs = ("a", "b") if verb == "compare" else ()

    assert cli.main([verb, *runs]) == 0

    ((ran, config, options),) = calls
    assert (ran, config.registry.model) == (verb, "pima-diabetes")
    assert options == (None if verb in ("history", "serve") else Options(runs=runs))


@pytest.mark.parametrize(
    ("options", "fresh"),
    [
        ([], False),
        (["--fresh"], True),
        (["--fresh", "true"], True),
        (["--fresh", "True"], True),
        (["--fresh", "false"], False),
        (["--fresh=false"], False),
        (["--fresh", "--tune.seed", "3"], True),
    ],
)
def test_fresh_is_a_flag_or_takes_true_and_false(calls, options, fresh):
    """`mlflow run . -P fresh=false` arrives as `--fresh false`."""
    assert cli.main(["run", "configs/pima.yaml", *options]) == 0

    assert calls[0][2] == Options(fresh=fresh)


@pytest.mark.parametrize(
    "options",
    [
        ["--tune.max_evals", "7", "--data.columns.Age.range", "[0, 99]"],
        ["--tune.max_evals=7", "--data.columns.Age.range=[0, 99]"],
        ["--tune.max_evals", "3", "--data.columns.Age.range", "[0, 99]", "--tune.max_evals", "7"],
    ],
    ids=["spaces", "equals", "the last one counts"],
)
def test_options_override_the_config(calls, options):
    assert cli.main(["tune", "configs/tutorial.yaml", *options]) == 0

    config = calls[0][1]
    assert config.registry.model == "pima-tutorial"
    assert config.tune.max_evals == 7
    assert config.data.columns["Age"].range == (0, 99)


def test_audit_takes_its_folds_as_mlflow_run_hands_them_on(calls):
    """`mlflow run . -e audit -P folds=7` arrives as `--folds 7`."""
    assert cli.main(["audit", "configs/pima.yaml", "--folds", "7"]) == 0

    assert calls[0][1].audit.folds == 7


def test_serve_takes_its_workers_as_mlflow_run_hands_them_on(calls):
    """`mlflow run . -e serve -P workers=3` arrives as `--workers 3`."""
    assert cli.main(["serve", "configs/pima.yaml", "--workers", "3"]) == 0

    assert calls[0][1].serve.workers == 3


@pytest.mark.parametrize(
    ("options", "insecure"),
    [
        ([], False),
        (["--insecure"], True),
        (["--serve.insecure"], True),
        (["--insecure", "true"], True),
        (["--insecure", "false"], False),
        (["--insecure=false"], False),
        (["--insecure", "--serve.port", "9000"], True),
        (["--serve.port", "9000", "--insecure"], True),
    ],
)
def test_insecure_is_a_flag_or_takes_true_and_false(calls, options, insecure):
    assert cli.main(["serve", "configs/pima.yaml", *options]) == 0

    assert calls[0][1].serve.insecure is insecure


@pytest.mark.parametrize(
    ("options", "dry_run"),
    [
        ([], False),
        (["--dry-run"], True),
        (["--dry_run"], True),
        (["--dry-run", "true"], True),
        (["--dry_run", "true"], True),
        (["--dry_run=True"], True),
        (["--dry-run", "false"], False),
        (["--dry_run=false"], False),
        (["--dry-run", "--gate.margin", "0.1"], True),
        (["--gate.margin", "0.1", "--dry-run"], True),
    ],
)
def test_dry_run_is_a_flag_or_takes_true_and_false(calls, options, dry_run):
    """`mlflow run . -e promote -P dry_run=true` arrives as `--dry_run true`."""
    assert cli.main(["promote", "configs/pima.yaml", *options]) == 0

    assert calls[0][2] == Options(dry_run=dry_run)


@pytest.mark.parametrize(
    ("verb", "given", "options"),
    [
        ("promote", ["--run", "abc"], Options(run="abc")),
        ("promote", ["--run=abc", "--dry-run"], Options(run="abc", dry_run=True)),
        ("promote", ["--run", "12"], Options(run="12")),
        ("promote", ["--reason", "it is faster"], Options(reason="it is faster")),
        ("promote", ["--reason="], Options()),
        ("promote", ["--fresh", "--run", "abc"], Options(fresh=True, run="abc")),
        ("rollback", ["--version", "3"], Options(version="3")),
        ("rollback", ["--version=3", "--reason", "slow"], Options(version="3", reason="slow")),
    ],
)
def test_verb_takes_the_options_of_its_own(calls, verb, given, options):
    assert cli.main([verb, "configs/tutorial.yaml", *given]) == 0

    ((ran, config, found),) = calls
    assert (ran, config.registry.model, found) == (verb, "pima-tutorial", options)


def test_version_of_the_server_is_a_setting_and_no_option_of_rollback(calls):
    assert cli.main(["serve", "--serve.version", "3"]) == 0

    assert calls[0][1].serve.version == "3"


@pytest.mark.parametrize(("given", "searches"), [([], 1), (["--run", "abc"], 0)])
def test_workers_are_warmed_up_for_a_search_and_not_for_a_run_that_is_named(
    calls, monkeypatch, given, searches
):
    warmed = []
    monkeypatch.setattr(workers, "warm_up", warmed.append)

    assert cli.main(["promote", *given]) == 0

    assert len(warmed) == searches


@pytest.mark.parametrize("verb", ["rollback", "history", "compare", "ingest", "analyze"])
def test_workers_are_not_warmed_up_where_nothing_is_searched(calls, monkeypatch, verb):
    warmed = []
    monkeypatch.setattr(workers, "warm_up", warmed.append)

    assert cli.main([verb, *(("a", "b") if verb == "compare" else ())]) == 0

    assert (len(calls), warmed) == (1, [])


# Two runs.


@pytest.mark.parametrize(
    ("words", "model", "runs"),
    [
        (["a", "b"], "pima-diabetes", ("a", "b")),
        (["b", "a"], "pima-diabetes", ("b", "a")),
        (["12", "34"], "pima-diabetes", ("12", "34")),
        (["configs/tutorial.yaml", "a", "b"], "pima-tutorial", ("a", "b")),
        (["a", "b", "--evaluate.seed", "7"], "pima-diabetes", ("a", "b")),
        (["configs/wine.yaml", "a", "b", "--evaluate.seed=7"], "wine", ("a", "b")),
        (["a", "b", "--fresh"], "pima-diabetes", ("a", "b")),
    ],
)
def test_compare_takes_two_runs_after_the_config_and_before_the_options(calls, words, model, runs):
    assert cli.main(["compare", *words]) == 0

    ((verb, config, options),) = calls
    assert (verb, config.registry.model, options.runs) == ("compare", model, runs)
    assert config.evaluate.seed == (7 if "7" in words[-1] else 0)
    assert options.fresh is ("--fresh" in words)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a"],
        ["--evaluate.seed", "7"],
        ["a", "--evaluate.seed", "7"],
        ["a", "--evaluate.seed", "7", "b"],
        ["--evaluate.seed", "7", "a", "b"],
        ["a", "b", "c"],
        ["configs/pima.yaml", "a", "b", "c"],
        ["configs/pima.yaml", "a", "b", "c", "d"],
    ],
    ids=" ".join,
)
def test_compare_refuses_other_than_two_runs(calls, recorded, capsys, words):
    assert cli.main(["compare", *words]) == MISTAKE

    ((verb, message),) = recorded
    assert verb == "compare"
    assert capsys.readouterr() == ("", f"error: {message}\n")
    assert calls == []


@pytest.mark.parametrize("words", [[], ["a"]])
def test_compare_says_that_it_takes_two_runs(recorded, words):
    cli.main(["compare", *words])

    assert recorded == [
        ("compare", "compare takes two runs: compare RUN RUN; a config comes before them")
    ]


def test_words_of_other_verbs_are_left_as_they_are():
    words = ["promote", "configs/pima.yaml", "--run", "a", "b"]

    assert cli._take_runs(words) == (words, ())


# What a setting may come from.


def test_option_overrides_the_environment(calls, monkeypatch):
    monkeypatch.setenv("PIPELINE_SERVE_PORT", "9001")
    monkeypatch.setenv("PIPELINE_SERVE_WORKERS", "4")

    assert cli.main(["serve", "--serve.port", "9002"]) == 0
    serve = calls[0][1].serve
    assert (serve.port, serve.workers) == (9002, 4)


def test_option_takes_a_negative_number(calls):
    assert cli.main(["tune", "--data.columns.Age.missing", "-1", "--data.positive", "-1"]) == 0

    data = calls[0][1].data
    assert (data.columns["Age"].missing, data.positive) == (-1, -1)


def test_option_of_a_text_setting_keeps_digits_as_text(calls):
    assert cli.main(["run", "--registry.model", "2024"]) == 0

    assert calls[0][1].registry.model == "2024"


# Mistakes.


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["configs/nope.yaml"], "config 'configs/nope.yaml' does not exist; there are configs/"),
        (["--tune.max_evals", "lots"], "tune.max_evals is 'lots'; it should be a valid integer"),
        (["--tune.max_evls", "3"], "tune.max_evls is not a setting, did you mean 'max_evals'?"),
        (["--tune.max_eval", "3"], "tune.max_eval is not a setting, did you mean 'max_evals'?"),
        (["--data.columns.Age.rage", "3"], "data.columns.Age.rage is not a setting, did you mean"),
        (["--tune.families", "[svc"], "tune.families is '[svc'; it must be a value in YAML"),
        (["--tune.max_evls"], "--tune.max_evls has no value; write --tune.max_evls VALUE"),
        (["--insecure", "maybe"], "serve.insecure is 'maybe'; it should be a valid boolean"),
        (["configs/pima.yaml", "stray"], "'stray' is not an option; write --section.key VALUE"),
        (["-x", "3"], "'-x' is not an option; write --section.key VALUE"),
    ],
)
def test_mistake_is_told_once_recorded_and_ends_with_status_2(
    calls, recorded, capsys, options, told
):
    assert cli.main(["tune", *options]) == MISTAKE

    ((verb, message),) = recorded
    assert verb == "tune"
    assert told in message
    assert capsys.readouterr() == ("", f"error: {message}\n")
    assert calls == []


@pytest.mark.parametrize(
    ("option", "verbs"),
    [
        (["--dry-run"], "promote"),
        (["--dry_run", "true"], "promote"),
        (["--run", "abc"], "promote"),
        (["--version", "3"], "rollback"),
        (["--reason", "why"], "promote, rollback"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("verb", cli.VERBS)
def test_option_of_another_verb_is_refused(*, calls, recorded, capsys, option, verb, verbs):
    runs = ("a", "b") if verb == "compare" else ()
    status = cli.main([verb, *runs, *option])

    if verb in verbs.split(", "):
        assert (status, len(calls), recorded) == (0, 1, [])
    else:
        name = option[0].replace("_", "-")
        told = f"{name} is an option of {verbs}, not of {verb}"
        assert (status, calls, recorded) == (MISTAKE, [], [(verb, told)])
        assert capsys.readouterr().err == f"error: {told}\n"


@pytest.mark.parametrize("given", ["", "x", "0", "-1", "3.5"])
def test_version_to_go_back_to_is_a_number(calls, recorded, given):
    """An empty shell variable is no wish to go one back."""
    assert cli.main(["rollback", f"--version={given}"]) == MISTAKE
    told = f"--version is {given!r}; it should be the number of a version, such as 3"
    assert (calls, recorded) == ([], [("rollback", told)])


def test_run_to_promote_is_not_an_empty_text(calls, recorded):
    assert cli.main(["promote", "--run="]) == MISTAKE
    assert (calls, recorded) == ([], [("promote", "--run is ''; it should be the id of a run")])


@pytest.mark.parametrize("verb", ["run", "rollback", "serve"])
def test_dry_run_that_is_not_wanted_is_taken_by_every_verb(calls, verb):
    assert cli.main([verb, "--dry-run", "false"]) == 0

    assert len(calls) == 1


def test_all_mistakes_of_a_command_are_told_at_once(recorded, capsys):
    cli.main(["tune", "--tune.max_evals", "lots", "--serve.prt", "1", "--split.seed", "-1"])

    told = capsys.readouterr().err
    assert all(name in told for name in ("tune.max_evals is", "serve.prt is", "split.seed is"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: VERB"),
        (["dance"], "invalid choice: 'dance' (choose from 'run', 'ingest'"),
        (["run", "--fresh", "maybe"], "argument --fresh: 'maybe' is neither true nor false"),
        (["promote", "--dry-run", "1"], "argument --dry-run/--dry_run: '1' is neither true nor"),
        (["promote", "--run"], "argument --run: expected one argument"),
        (["rollback", "--version"], "argument --version: expected one argument"),
        (["run", "--tune.seed"], "argument --tune.seed: expected one argument"),
    ],
)
def test_command_that_cannot_be_read_ends_with_status_2_and_the_usage(capsys, arguments, told):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)

    assert end.value.code == MISTAKE
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "does"), [("ingest", "run"), ("rollback", "rollback"), ("history", "history")]
)
def test_mistake_of_a_step_is_told_without_a_second_record(
    *, monkeypatch, recorded, capsys, verb, does
):
    def fail(*_):
        raise ContractError("row 1, Age: must be finite")

    monkeypatch.setattr(flow, does, fail)

    assert cli.main([verb]) == MISTAKE
    assert capsys.readouterr().err == "error: row 1, Age: must be finite\n"
    assert recorded == []


def test_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def run(verb, config, options):
        raise ZeroDivisionError

    monkeypatch.setattr(flow, "run", run)

    with pytest.raises(ZeroDivisionError):
        cli.main(["ingest"])


@pytest.mark.parametrize("name", ["mlflow.store.db.utils", "hyperopt.fmin"])
def test_error_that_is_told_once_is_not_logged_beside(calls, caplog, name):
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
    assert cli.main(["ingest", "--data.source", "nope.csv"]) == MISTAKE

    message = capsys.readouterr().err.partition("error: ")[2].rstrip("\n")
    (run,) = mlflow.search_runs(filter_string="tags.verb = 'ingest'", output_format="list")
    assert run.info.status == "FAILED"
    assert run.data.tags["mlflow.note.content"] == message
    assert "data.source 'nope.csv' does not exist in " in message
    assert "Traceback" not in message
    assert mlflow.active_run() is None


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


def test_mistake_in_the_environment_is_told_beside_the_one_in_the_config(
    store, monkeypatch, capsys
):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "999")
    assert cli.main(["tune", "--split.seed", "x"]) == MISTAKE
    told = capsys.readouterr().err
    assert "split.seed is 'x'; it should be a valid integer" in told
    assert "MLFLOW_EXPERIMENT_ID is '999', and there is no such experiment" in told


# Help.


@pytest.fixture(scope="module")
def help_page():
    """What `python -m pipeline --help` prints, and the modules that it took."""
    code = (
        "import sys; from pipeline.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize(("key", "field"), [*settings()], ids=[key for key, _ in settings()])
def test_help_lists_every_setting_with_its_meaning(help_page, key, field):
    page = "".join(help_page.stdout.split())  # lines are broken to fit the terminal

    value = "[VALUE]" if key in cli.FLAGS else "VALUE"
    option = ",".join(f"{name}{value}" for name in (f"--{key}", cli.SHORT.get(key)) if name)
    assert f"{option}{''.join(field.description.split())}(default:" in page


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_lists_every_verb_with_its_meaning(help_page, verb):
    assert f"  {verb:10}{cli.VERBS[verb]}\n" in help_page.stdout


@pytest.mark.parametrize(
    "option",
    [
        "--fresh [true] run every step, reuse none",
        "--dry-run [true], --dry_run [true] promote: decide and tell, but move nothing",
        "--run ID promote: the model of this run, not the best",
        "--version N rollback: to this version, not the champion before",
        "--reason TEXT promote, rollback: why, for the record",
    ],
)
def test_help_lists_the_options_of_verbs(help_page, option):
    assert option in " ".join(help_page.stdout.split())


@pytest.mark.parametrize(
    "default", ["set in the config", "null", "true", "0.3", "127.0.0.1", "auto"]
)
def test_help_shows_defaults_as_yaml(help_page, default):
    assert f"(default: {default})" in " ".join(help_page.stdout.split())


def test_help_comes_without_the_libraries_that_take_seconds(help_page):
    assert not {"mlflow", "sklearn", "pandas", "numpy"} & set(help_page.stderr.split())
