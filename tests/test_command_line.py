"""What the words of a command mean, and what its help says."""

import subprocess
import sys

import pytest

from pipeline.command_line import help_page, read, read_verb
from pipeline.config.keys import settings
from pipeline.config.paths import PROJECT
from pipeline.errors import ConfigError
from pipeline.verbs import OPTIONS, VERBS, Options, sections
from tests.support.words import IDS, required, words_of

DEFAULT = "configs/pima.yaml"
FLAG_FORMS = [
    ([], False),
    (["{}"], True),
    (["{}", "true"], True),
    (["{}", "True"], True),
    (["{}=true"], True),
    (["{}", "false"], False),
    (["{}=false"], False),
    (["{}", "--tune.seed", "3"], True),
    (["--tune.seed", "3", "{}"], True),
]


def fault(verb, *words):
    with pytest.raises(ConfigError) as error:
        read(verb, words)
    return str(error.value)


# Options of verbs.


@pytest.mark.parametrize("verb", VERBS)
def test_verb_alone_takes_the_default_config(verb):
    runs = IDS if VERBS[verb].arguments else ()
    assert read(verb, words_of(verb)) == (DEFAULT, {}, Options(runs=runs, **required(verb)))


@pytest.mark.parametrize("verb", [verb for verb in VERBS if VERBS[verb].required])
def test_verb_says_which_options_it_needs(verb):
    message = fault(verb)
    assert message.startswith(f"{verb} needs --data SOURCE")
    assert all(f"--{name}" in message for name in VERBS[verb].required)


@pytest.mark.parametrize("name", ["fresh", "dry_run"])
@pytest.mark.parametrize(("form", "value"), FLAG_FORMS, ids=str)
def test_flag_stands_alone_or_takes_true_and_false(name, form, value):
    """`mlflow run . -e promote -P dry_run=true` arrives as `--dry_run true`."""
    for option in (f"--{name}", f"--{name.replace('_', '-')}"):
        words = [word.format(option) for word in form]
        config, overrides, options = read("promote", ["configs/wine.yaml", *words])
        assert (config, options) == ("configs/wine.yaml", Options(**{name: value}))
        assert overrides == ({"tune.seed": "3"} if "3" in words else {})


@pytest.mark.parametrize(("form", "value"), FLAG_FORMS, ids=str)
@pytest.mark.parametrize("option", ["--insecure", "--serve.insecure"])
def test_setting_that_is_true_or_false_is_a_flag_too(option, form, value):
    _, overrides, _ = read("serve", [word.format(option) for word in form])
    assert overrides.get("serve.insecure", "false").lower() == str(value).lower()


@pytest.mark.parametrize(
    ("verb", "words", "options"),
    [
        ("promote", ["--run", "abc"], Options(run="abc")),
        ("promote", ["--run=abc", "--dry-run"], Options(run="abc", dry_run=True)),
        ("promote", ["--reason", "it is faster"], Options(reason="it is faster")),
        ("promote", ["--reason="], Options()),
        ("promote", ["--fresh", "--run", "12"], Options(fresh=True, run="12")),
        ("rollback", ["--version", "3"], Options(version="3")),
        ("rollback", ["--version=3", "--reason", "slow"], Options(version="3", reason="slow")),
    ],
)
def test_verb_takes_the_options_of_its_own(verb, words, options):
    assert read(verb, words) == (DEFAULT, {}, options)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", OPTIONS)
def test_option_is_taken_by_its_verbs_alone(verb, name):
    verbs = [one for one in VERBS if name in VERBS[one].options]
    option, plain = f"--{name.replace('_', '-')}", words_of(verb)
    words = [*plain, option] if OPTIONS[name].type is bool else [*plain, option, "3"]
    if verb in verbs:
        assert read(verb, words)[2] != read(verb, plain)[2]
    else:
        assert fault(verb, *words) == f"{option} is an option of {', '.join(verbs)}, not of {verb}"


@pytest.mark.parametrize("verb", ["run", "rollback", "serve"])
def test_flag_that_is_not_wanted_is_taken_by_every_verb(verb):
    assert read(verb, ["--dry-run", "false"]) == (DEFAULT, {}, Options())


@pytest.mark.parametrize("version", ["", "x", "0", "-1", "3.5"])
def test_version_to_go_back_to_is_a_number(version):
    """An empty shell variable is no wish to go one back."""
    rule = "it should be the number of a version, such as 3"
    assert fault("rollback", f"--version={version}") == f"--version is {version!r}; {rule}"


# Settings.


@pytest.mark.parametrize(
    "words",
    [
        ["--tune.max_evals", "7", "--data.columns.Age.range", "[0, 99]"],
        ["--tune.max_evals=7", "--data.columns.Age.range=[0, 99]"],
        ["--tune.max_evals", "3", "--data.columns.Age.range", "[0, 99]", "--tune.max_evals", "7"],
    ],
    ids=["spaces", "equals", "the last one counts"],
)
@pytest.mark.parametrize("place", ["first", "last"])
def test_settings_stand_before_or_after_the_config(words, place):
    config = ["configs/tutorial.yaml"]
    read_back = read("tune", [*config, *words] if place == "first" else [*words, *config])
    overrides = {"tune.max_evals": "7", "data.columns.Age.range": "[0, 99]"}
    assert read_back == ("configs/tutorial.yaml", overrides, Options())


@pytest.mark.parametrize(
    ("verb", "alias", "key"),
    [(verb, *pair) for verb, row in VERBS.items() for pair in row.aliases.items()],
)
def test_setting_has_a_short_name_as_mlflow_run_hands_it_on(verb, alias, key):
    """`mlflow run . -e audit -P folds=7` arrives as `--folds 7`."""
    assert read(verb, [f"--{alias}", "7"])[1] == {key: "7"}


def test_value_may_be_a_negative_number():
    assert read("tune", ["--data.columns.Age.missing", "-1"])[1] == {
        "data.columns.Age.missing": "-1"
    }


def test_version_of_the_server_is_a_setting_and_no_option_of_rollback():
    assert read("serve", ["--serve.version", "3"])[1:] == ({"serve.version": "3"}, Options())


# Two runs.


@pytest.mark.parametrize(
    ("words", "config", "runs"),
    [
        (["a", "b"], DEFAULT, ("a", "b")),
        (["b", "a"], DEFAULT, ("b", "a")),
        (["configs/tutorial.yaml", "12", "34"], "configs/tutorial.yaml", ("12", "34")),
        (["a", "b", "--fresh"], DEFAULT, ("a", "b")),
        (["a", "--fresh", "true", "b"], DEFAULT, ("a", "b")),
    ],
)
def test_compare_takes_two_runs(words, config, runs):
    assert read("compare", words) == (config, {}, Options(fresh="--fresh" in words, runs=runs))


@pytest.mark.parametrize(
    "words", ["", "a", "--evaluate.seed 7", "a b c", "configs/wine.yaml a b c"]
)
def test_compare_refuses_other_than_two_runs(words):
    message = "compare takes two runs: compare RUN RUN; a config comes before them"
    assert fault("compare", *words.split()).startswith(message)


# Mistakes.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [],
            f"a verb is missing; choose from {', '.join(VERBS)}; `python -m pipeline --help` says",
        ),
        (["tuen"], "'tuen' is not a verb, did you mean 'tune'?"),
        (["dance"], f"'dance' is not a verb; choose from {', '.join(VERBS)}"),
    ],
)
def test_word_that_is_no_verb_gets_the_nearest_or_all(words, message):
    with pytest.raises(ConfigError) as error:
        read_verb(words)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("verb", "written", "meant"),
    [
        ("rollback", "versoin", "version"),
        ("promote", "dryrun", "dry-run"),
        ("run", "max_evals", "tune.max_evals"),
        ("run", "max_eval", "tune.max_evals"),
        ("run", "tune-max_evals", "tune.max_evals"),
        ("split", "seed", "split.seed"),
        ("serve", "prot", "serve.port"),
        ("audit", "fodls", "folds"),
        ("tune", "folds", "tune.folds"),
        ("train", "workers", "serve.workers"),
    ],
)
def test_option_that_is_misspelt_gets_the_nearest_in_full(verb, written, meant):
    verb = "ingest" if verb == "split" else verb
    for words in ([f"--{written}", "3"], [f"--{written}=3"]):
        message = f"--{written} is not an option of {verb}, did you mean '--{meant}'?"
        assert fault(verb, *words) == message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--zzz", "3"], "--zzz is not an option of run; `python -m pipeline run --help` lists"),
        (["--tune.max_evls"], "--tune.max_evls has no value; write --tune.max_evls VALUE"),
        (["--tune.seed", "--fresh"], "--tune.seed has no value; write --tune.seed VALUE"),
        (["--run"], "--run has no value; write --run VALUE"),
        (["--run="], "--run is ''; it should be the id of a run"),
        (["--fresh", "maybe"], "--fresh is 'maybe'; it should be true or false"),
        (["configs/pima.yaml", "stray"], "'stray' is not an option; write --section.key VALUE"),
        (["-x", "3"], "'-x' is not an option; write --section.key VALUE"),
    ],
)
def test_word_that_cannot_be_read_is_named_with_the_remedy(words, message):
    assert message in fault("run", *words)


# Help.


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_has_its_meaning_its_options_and_its_settings_and_no_others(verb):
    page = help_page(verb)
    text = "".join(page.split())  # lines are broken to fit the terminal
    assert VERBS[verb].meaning in page
    for name, option in OPTIONS.items():
        is_there = f"--{name.replace('_', '-')}" in page.split()
        assert is_there is (name in VERBS[verb].options)
        assert not is_there or "".join(option.metadata["meaning"].split()) in text
    for key, field in settings():
        is_there = f"--{key}" in page.split()
        assert is_there is (key.split(".")[0] in sections(verb))
        assert not is_there or f"{''.join(field.description.split())}(default:" in text


def test_help_lists_every_verb_with_its_meaning_and_says_how_to_go_on():
    for verb, row in VERBS.items():
        assert f"  {verb:10}{row.meaning}\n" in help_page()
    assert "python -m pipeline VERB --help" in help_page()


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("serve", "--serve.workers VALUE, --workers VALUE server processes (default: 1)"),
        ("serve", "--serve.insecure [VALUE], --insecure [VALUE]"),
        ("compare", "usage: python -m pipeline compare [CONFIG] FIRST SECOND"),
        ("train", "Settings of what it needs (tune) count too: python -m pipeline tune --help"),
        ("run", "(default: set in the config)"),
        ("tune", "(default: null)"),
        ("split", "(default: true)"),
    ],
)
def test_help_shows_short_names_arguments_and_defaults_as_yaml(verb, words):
    assert words in " ".join(help_page("ingest" if verb == "split" else verb).split())


@pytest.mark.parametrize("words", [["--help"], ["tune", "--help"], ["serve", "x.yaml", "-h"]])
def test_help_comes_without_the_libraries_that_take_seconds(words):
    program = (
        f"import sys; from pipeline.cli import main; status = main({words!r});"
        "print(*sys.modules, file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: python -m pipeline")
    assert not {"mlflow", "sklearn", "pandas", "numpy"} & set(done.stderr.split())


def test_verbs_that_fit_nothing_do_without_scikit_learn():
    modules = ("batch.monitor", "batch.predict", "doctor.examine", "promotion.promotion_log")
    imports = ", ".join(f"pipeline.{name}" for name in modules)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {imports}; print(*sys.modules)"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mlflow" in done.stdout.split()
    assert "sklearn" not in done.stdout.split()
