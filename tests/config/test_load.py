import os
import subprocess
import sys
from functools import reduce

import pytest
from pydantic import ValidationError

from pipeline.config.keys import settings
from pipeline.config.load import load, variable
from pipeline.config.paths import PROJECT, locate
from pipeline.config.serve import Serve
from pipeline.config.tune import Estimator
from pipeline.errors import ConfigError
from pipeline.schema.columns import NumberColumn
from pipeline.tasks import FAMILIES

SMALL = """
data:
  source: people.csv
  target: ill
  positive: 1
  columns:
    Age: {unit: years, range: [18, 120]}
    Weight: {}
registry: {model: m}
"""
SHIPPED = sorted(path.name for path in (PROJECT / "configs").glob("*.yaml"))


@pytest.fixture
def read(tmp_path):
    """Loads a config of the given text, with overrides."""

    def read(text=SMALL, overrides=None):
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return load(str(path), overrides or {})

    return read


@pytest.fixture
def faults(read):
    """The lines of the message with which a config is refused, without its first."""

    def faults(text=SMALL, overrides=None):
        with pytest.raises(ConfigError) as error:
            read(text, overrides)
        first, *lines = str(error.value).split("\n")
        assert first.endswith("config.yaml is not a valid config:")
        return [line.strip() for line in lines]

    return faults


@pytest.mark.parametrize("name", SHIPPED)
def test_load_takes_every_shipped_config(name):
    config = load(f"configs/{name}", {})
    assert locate(config.data.source).exists()


def test_load_finds_shipped_config_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load("configs/pima.yaml", {}).registry.model == "pima-diabetes"


def test_load_prefers_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "pima.yaml").write_text(SMALL)
    assert load("configs/pima.yaml", {}).registry.model == "m"


def test_load_fills_what_is_left_out_with_defaults(read):
    config = read()
    assert config.data.columns == {
        "Age": NumberColumn(unit="years", range=(18, 120)),
        "Weight": NumberColumn(),
    }
    assert config.split.test_size == 0.3
    assert config.tune.timeout is None


def test_config_is_frozen(read):
    with pytest.raises(ValidationError, match="frozen"):
        read().split.seed = 2


@pytest.mark.parametrize("rate", ["1/second", "5000/minute", "7/hour", "9/day"])
def test_load_takes_a_rate(read, rate):
    assert read(f"{SMALL}serve: {{limits: {{rate: {rate}}}}}\n").serve.limits.rate == rate


@pytest.mark.parametrize(
    "rate", ["100", "0/second", "01/second", "1.5/second", "100/seconds", "100 / second", "9/month"]
)
def test_load_refuses_what_is_no_rate(faults, rate):
    assert faults(f"{SMALL}serve: {{limits: {{rate: '{rate}'}}}}\n") == [
        f"serve.limits.rate: {rate!r} is no rate; write for example 100/second or 5000/minute"
    ]


# One fault, one sentence: setting, value, rule or remedy.

MAPPING = "it should be a mapping of settings, {} for none"
REFUSED = {
    "it should be a valid integer": [
        ("tune: {max_evals: '3'}", "tune.max_evals is '3'"),
        ("tune: {max_evals: true}", "tune.max_evals is true"),
        ("tune: {max_evals: 3.0}", "tune.max_evals is 3.0"),
        ("tune: {max_evals: null}", "tune.max_evals is null"),
        ("tune: {seed: [null]}", "tune.seed is [None]"),
    ],
    "it should be a valid number": [
        ("split: {test_size: '0.3'}", "split.test_size is '0.3'"),
        ("gate: {floors: {f1: '0.5'}}", "gate.floors.f1 is '0.5'"),
    ],
    "it should be a valid boolean": [
        ("split: {stratify: 'yes'}", "split.stratify is 'yes'"),
        ("serve: {insecure: 1}", "serve.insecure is 1"),
    ],
    "it should be a valid string": [
        ("serve: {host: 127}", "serve.host is 127"),
        ("serve: {limits: {rate: 100}}", "serve.limits.rate is 100"),
    ],
    "it should be a list": [
        ("tune: {families: svc}", "tune.families is 'svc'"),
        ("serve: {allowed_hosts: a.org}", "serve.allowed_hosts is 'a.org'"),
        ("serve: {trusted_proxies: 10.0.0.1}", "serve.trusted_proxies is '10.0.0.1'"),
    ],
    MAPPING: [
        ("tune:", "tune is null"),
        ("gate: {floors: [0.5]}", "gate.floors is [0.5]"),
        ("serve: {limits: 3}", "serve.limits is 3"),
        ("tune: {space: {svc: 3}}", "tune.space.svc is 3"),
        ("tune: {estimators: {knn: a.B}}", "tune.estimators.knn is 'a.B'"),
    ],
    "it should be a finite number": [("split: {test_size: .nan}", "split.test_size is nan")],
    "it should be less than 1": [("split: {test_size: 2}", "split.test_size is 2")],
    "it should be greater than 0": [
        ("serve: {follow: 0}", "serve.follow is 0"),
        ("serve: {grace: -1}", "serve.grace is -1"),
        ("serve: {limits: {answer_seconds: 0}}", "serve.limits.answer_seconds is 0"),
    ],
    "it should be greater than or equal to 1": [
        ("serve: {limits: {rows: 0}}", "serve.limits.rows is 0"),
    ],
    "it should be less than or equal to 65535": [("serve: {port: 70000}", "serve.port is 70000")],
    "String should have at least 1 character": [("serve: {keys: ''}", "serve.keys is ''")],
    "it should be the number of a version, such as 3": [
        ("serve: {version: '0'}", "serve.version is '0'"),
    ],
    "choose from non_inferiority, superiority, none": [("gate: {rule: true}", "gate.rule is true")],
}


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        *(
            (section, f"{value}; {rule}")
            for rule, cases in REFUSED.items()
            for section, value in cases
        ),
        ("tun: {}", "tun is not a setting, did you mean 'tune'?"),
        ("tune: {max_eval: 3}", "tune.max_eval is not a setting, did you mean 'max_evals'?"),
        (
            "serve: {limits: {zzz: 3}}",
            "serve.limits.zzz is not a setting; choose from answer_seconds, body_bytes, "
            "concurrency, header_bytes, rate, receive_seconds, rows, uploads",
        ),
        (
            "tune: {families: [svc, mlp, svc]}",
            "tune.families: svc is there twice; name each family once",
        ),
        (
            "serve: {trusted_proxies: [10.0.0.1, a.org]}",
            "serve.trusted_proxies[1]: 'a.org' is no address or network; "
            "write for example 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32",
        ),
        (
            "serve: {trusted_proxies: [10.0.0.1/8]}",
            "serve.trusted_proxies[0]: '10.0.0.1/8' is no address or network; write 10.0.0.0/8",
        ),
    ],
)
def test_load_refuses_a_setting_with_name_value_and_rule(faults, section, sentence):
    assert faults(f"{SMALL}{section}\n") == [sentence]


EXAMPLE = "each by itself, for example https://app.example"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        *(
            (text, EXAMPLE)
            for text in ("*", "null", "app.example", "https://", "https://*.example")
        ),
        ("https://a.example, https://b.example", EXAMPLE),
        ("https://bücher.example", EXAMPLE),
        ("https://user@app.example", EXAMPLE),
        *((f"https://app.example{end}", "https://app.example") for end in ("/", "/a?b", ":443")),
        ("HTTPS://App.Example", "https://app.example"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://app.example:3000/", "http://app.example:3000"),
    ],
)
def test_load_refuses_what_is_no_origin_and_says_what_browsers_send(faults, text, remedy):
    (sentence,) = faults(f"{SMALL}serve: {{cors: ['http://localhost:3000', '{text}']}}\n")
    reason = f"{text!r} is no origin as browsers send it"
    assert sentence == f"serve.cors[1]: {reason}; write {remedy}"


@pytest.mark.parametrize(
    "text", ["https://app.example", "http://localhost:3000", "http://[::1]:8080", "capacitor://a.b"]
)
def test_load_takes_origins(text):
    assert Serve(cors=(text,)).cors == (text,)


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        ("unit:", "unt:", "data.columns.Age.unt is not a setting, did you mean 'unit'?"),
        ("[18, 120]", "[18]", "data.columns.Age.range[1] is missing; the config must set it"),
        ("[18, ", "['18', ", "data.columns.Age.range[0] is '18'; it should be a valid number"),
        ("18, 120", "9, 1", "data.columns.Age: range is [9, 1]; the smaller number comes first"),
        ("Weight: {}", "Weight:", f"data.columns.Weight is null; {MAPPING}"),
        ("ill", "Age", "data: target 'Age' is among the columns; take it out of them"),
        ("source: people.csv", "", "data.source is missing; the config must set it"),
        (
            "{model: m}",
            "{model: a/b}",
            "registry.model is 'a/b'; it should be a name without / : % and quotes that does not "
            "begin with a dot or a blank",
        ),
        (
            "source: people.csv",
            "source: people.csv\n  sha256: AB",
            "data.sha256 is 'AB'; it should be 64 hexadecimal digits in lower case",
        ),
    ],
)
def test_load_refuses_a_fault_in_the_data_and_registry(faults, good, bad, sentence):
    assert faults(SMALL.replace(good, bad)) == [sentence]


def test_load_tells_all_faults_at_once(faults):
    message = faults(
        SMALL.replace("unit: years", "unit: 3").replace("{model: m}", "{}")
        + "split: {test_size: 2, seed: -1, seeds: 1}\n"
        + "tune: {max_evals: '3', estimators: {a: {}, b: {estimator: B}}}\n"
    )

    assert [line.split(" ")[0] for line in message] == [
        "data.columns.Age.unit",
        "split.test_size",
        "split.seed",
        "split.seeds",
        "tune.estimators.a.estimator",
        "tune.estimators.b.estimator:",
        "tune.max_evals",
        "registry.model",
    ]


def test_load_answers_unknown_metric_with_the_choices(faults):
    (line,) = faults(f"{SMALL}gate: {{floors: {{rocauc: 0.7}}}}\n")
    assert "did you mean 'roc_auc'? choose from accuracy, " in line


# The file itself.


def test_load_names_shipped_configs_when_file_is_missing():
    with pytest.raises(ConfigError) as error:
        load("configs/pimma.yaml", {})
    assert "config 'configs/pimma.yaml' does not exist; there are " in str(error.value)
    assert all(f"configs/{name}" in str(error.value) for name in SHIPPED)


def test_load_says_where_it_looked_for_a_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"looked for in {tmp_path}, {PROJECT}$"):
        load("mine.yaml", {})


@pytest.mark.parametrize("through", ["{}", "bash -c '{}'", "bash -c 'true && {}; true'"])
def test_file_of_the_folder_where_mlflow_run_was_called_is_located(tmp_path, through):
    """As MLflow does: a process in the caller's folder starts another in the project's."""
    caller, project = tmp_path / "caller", tmp_path / "project"
    for folder in (caller, project):
        folder.mkdir()
    (caller / "mine.yaml").touch()
    (project / "both.yaml").touch()
    (caller / "both.yaml").touch()
    program = (
        "from pipeline.config.load import locate, looked_for;"
        'print(locate("mine.yaml"), locate("both.yaml"), looked_for("no.yaml"))'
    )
    (tmp_path / "program.py").write_text(program)
    command = through.format(f"{sys.executable} {tmp_path}/program.py")
    parent = (
        "import subprocess, sys;"
        "print(subprocess.check_output(['bash', '-c', sys.argv[1]], cwd=sys.argv[2], text=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", parent, command, str(project)],
        cwd=caller,
        env={**os.environ, "MLFLOW_RUN_ID": "0" * 32, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == (
        f"{caller}/mine.yaml {project}/both.yaml ; it was looked for in {project}, {caller}, "
        f"{PROJECT}"
    )


def test_load_refuses_a_file_that_is_not_utf8(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(SMALL.replace("years", "Jahre über").encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot be read: 'utf-8' codec"):
        load(str(path), {})


def test_load_names_the_line_of_a_yaml_error(read):
    with pytest.raises(ConfigError, match=r"is not valid YAML: line 3: "):
        read("data:\n  source: [a\n")


@pytest.mark.parametrize(
    ("text", "key"),
    [("data: {}\ndata: {}\n", "data"), (SMALL + "tune: {seed: 1, seed: 2}\n", "seed")],
)
def test_load_refuses_a_key_written_twice(read, text, key):
    with pytest.raises(ConfigError, match=rf'line \d+: found duplicate key "{key}"'):
        read(text)


@pytest.mark.parametrize(
    ("key", "as_yaml"), [("007", "7"), ("true", "true"), ("? [a, b]\n    ", r"\('a', 'b'\)")]
)
def test_load_refuses_a_key_that_yaml_takes_for_something_else_than_text(read, key, as_yaml):
    """Else a column `007` would silently be called `7`."""
    with pytest.raises(ConfigError, match=rf"key {as_yaml} is no text; put it in quotes"):
        read(SMALL.replace("Weight: {}", f"{key}: {{}}"))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ("{0: healthy, 1: ill}", {"0": "healthy", "1": "ill"}),
        ("{true: ill, no: healthy}", {"true": "ill", "no": "healthy"}),
        ('{"01": one, -1: minus}', {"01": "one", "-1": "minus"}),
    ],
)
def test_classes_may_be_named_as_they_are_written(read, labels, names):
    assert read(SMALL.replace("data:\n", f"data:\n  labels: {labels}\n")).data.labels == names
    assert load("configs/pima.yaml", {"data.labels": labels}).data.labels == names


@pytest.mark.parametrize(
    "text",
    [
        SMALL.replace("unit: years", "unit: 2024-13-45"),
        SMALL + "tune: &loop {families: [*loop]}\n",
        SMALL + f"tune: {{max_evals: {'9' * 5000}}}\n",
        SMALL + f"tune: {{families: {'[' * 1000}",
    ],
    ids=["a date that is none", "an alias of itself", "5000 digits", "1000 brackets"],
)
def test_load_refuses_what_the_yaml_reader_chokes_on(read, text):
    with pytest.raises(ConfigError, match=r"config\.yaml' is not valid YAML: "):
        read(text)


@pytest.mark.parametrize(
    ("written", "number"),
    [("1e-3", 0.001), ("1E3", 1000), ("+2.5e+1", 25), ("1.0e-3", 0.001), ("7", 7)],
)
def test_load_reads_numbers_as_people_write_them(read, written, number):
    assert read(f"{SMALL}tune: {{timeout: {written}}}\n").tune.timeout == number
    assert read(overrides={"tune.timeout": written}).tune.timeout == number


@pytest.mark.parametrize("text", ["", "- 1\n", "data\n", "3\n", "# only a comment\n"])
def test_load_refuses_a_file_without_sections(read, text):
    with pytest.raises(ConfigError, match="must hold sections such as data, split and tune"):
        read(text)


# Overrides.


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("tune.max_evals", "7", 7),
        ("tune.families", "[svc, mlp]", ("svc", "mlp")),
        ("tune.timeout", "1e-3", 0.001),
        ("tune.parallelism", "auto", "auto"),
        ("gate.floors", "{roc_auc: 0.7}", {"roc_auc": 0.7}),
        ("gate.floors.roc_auc", "0.7", {"roc_auc": 0.7}),
        ("data.positive", "yes please", "yes please"),
    ],
)
def test_override_is_laid_over_the_file(read, key, text, value):
    section, name, *_ = key.split(".")
    assert getattr(getattr(read(overrides={key: text}), section), name) == value


@pytest.mark.parametrize("text", ["2024", "1e3", "true", "[a]", "null model", "007"])
def test_override_of_a_text_setting_keeps_it_as_typed(read, text):
    assert read(overrides={"registry.model": text}).registry.model == text


def test_override_reaches_one_setting_of_a_column(read):
    columns = read(overrides={"data.columns.Age.range": "[null, 99]"}).data.columns
    assert columns == {
        "Age": NumberColumn(unit="years", range=(None, 99)),
        "Weight": NumberColumn(),
    }


@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        ("tune.max_evals", "lots", "tune.max_evals is 'lots'; it should be a valid integer"),
        ("tune.max_evals", "'7'", "tune.max_evals is '7'; it should be a valid integer"),
        ("tune.timeout", "NaN", "tune.timeout is 'NaN'; it should be a valid number"),
        ("registry.model", "null", "registry.model is null; it should be a valid string"),
        ("tune", "3", "tune is 3; it should be a mapping of settings, {} for none"),
    ],
)
def test_override_is_checked_like_the_file(faults, key, text, sentence):
    assert faults(overrides={key: text}) == [sentence]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("tune.families", "[svc"),
        ("gate.floors", '{"f1": 0.1, "f1": 0.2}'),
        ("gate.floors", "{1: 0.1}"),
        ("tune.seed", "9" * 5000),
        ("tune.seed", "[" * 1000),
    ],
    ids=["open bracket", "key twice", "key that is no text", "5000 digits", "1000 brackets"],
)
def test_override_that_is_no_value_in_yaml_is_refused(read, key, text):
    with pytest.raises(ConfigError) as error:
        read(overrides={key: text})
    assert str(error.value) == f"{key} is {text!r}; it must be a value in YAML, e.g. 3 or [a, b]"


def test_override_below_a_value_is_refused(read):
    with pytest.raises(ConfigError, match=r"data\.target\.x cannot be set: 'target' is not a sec"):
        read(overrides={"data.target.x": "3"})


def test_settings_lists_the_leaves_of_every_section():
    keys = [key for key, _ in settings()]
    assert len(keys) == len(set(keys))
    assert {"data.source", "tune.max_evals", "gate.floors", "serve.port"} <= set(keys)
    assert {"tune.estimators", "tune.families", "tune.space", "tune.backend"} <= set(keys)
    assert "tune" not in keys


# The environment: between the file and the command line, for the endpoint alone.


def test_variable_is_the_key_in_capitals():
    assert variable("serve.limits.body_bytes") == "PIPELINE_SERVE_LIMITS_BODY_BYTES"


def test_no_two_settings_share_a_variable():
    names = [variable(key) for key, _ in settings()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("serve.host", "0.0.0.0", "0.0.0.0"),
        ("serve.port", "9000", 9000),
        ("serve.insecure", "true", True),
        ("serve.keys", "12345", "12345"),
        ("serve.allowed_hosts", "[a.org, '*']", ("a.org", "*")),
        ("serve.trusted_proxies", "[10.0.0.0/8, ::1]", ("10.0.0.0/8", "::1")),
        ("serve.limits.rate", "5/second", "5/second"),
        ("serve.limits.rate", "null", None),
    ],
)
def test_variable_sets_its_key(read, monkeypatch, key, text, value):
    monkeypatch.setenv(variable(key), text)
    assert reduce(getattr, key.split("."), read()) == value


def test_variable_goes_over_the_file_and_under_an_override(read, monkeypatch):
    text = SMALL + "serve: {port: 9000, limits: {rows: 7, body_bytes: 8}}\n"
    monkeypatch.setenv("PIPELINE_SERVE_PORT", "9001")
    monkeypatch.setenv("PIPELINE_SERVE_LIMITS_ROWS", "17")
    assert read(text).serve.port == 9001
    assert read(text, {"serve.port": "9002"}).serve.port == 9002
    limits = read(text, {"serve.limits.rows": "27"}).serve.limits
    assert (limits.rows, limits.body_bytes) == (27, 8)
    assert read(text).serve.limits.rows == 17


def test_what_a_run_results_in_does_not_come_from_the_environment(read, monkeypatch):
    before = read()
    for key, _ in settings():
        if not key.startswith("serve."):
            monkeypatch.setenv(variable(key), "7")
    assert read() == before


def test_variable_is_checked_like_the_file(faults, monkeypatch):
    monkeypatch.setenv("PIPELINE_SERVE_PORT", "lots")
    assert faults() == ["serve.port is 'lots'; it should be a valid integer"]


# Families and their spaces.


LIGHTGBM = """
tune:
  estimators:
    boosting:
      estimator: lightgbm.LGBMClassifier
      params: {n_estimators: 300, class_weight: null}
      space:
        num_leaves: {uniformint: [7, 63]}
        learning_rate: {loguniform: [1e-2, 0.3]}
        boosting_type: {choice: [gbdt, null, [1, true], 1, true, 1.0]}
      default: {num_leaves: 31}
      preprocessing: []
  space:
    boosting: {reg_lambda: 3}
    svc: {C: {quniform: [1, 9, 0.5]}, gamma: 0.1}
"""


def test_load_reads_an_estimator_and_spaces_without_importing_anything(read):
    tune = read(SMALL + LIGHTGBM).tune

    assert tune.families[-2:] == ("mlp", "boosting")
    assert tune.import_paths() == ("lightgbm.LGBMClassifier",)
    assert tune.estimators["boosting"].model_dump() == {
        "estimator": "lightgbm.LGBMClassifier",
        "params": {"n_estimators": 300, "class_weight": None},
        "space": {
            "num_leaves": {"uniformint": [7, 63]},
            "learning_rate": {"loguniform": [0.01, 0.3]},
            "boosting_type": {"choice": ["gbdt", None, [1, True], 1, True, 1.0]},
        },
        "default": {"num_leaves": 31},
        "preprocessing": (),
    }
    options = tune.estimators["boosting"].space["boosting_type"].options
    assert [type(option) for option in options] == [str, type(None), list, int, bool, float]
    assert tune.model_dump()["space"] == {
        "boosting": {"reg_lambda": 3},
        "svc": {"C": {"quniform": [1, 9, 0.5]}, "gamma": 0.1},
    }


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("{loguniform: [10, 1]}", "loguniform: low 10 must be below high 1"),
        ("{uniform: {low: 0, high: 1}}", "uniform takes a list, [low, high]"),
        ("{uniforn: [0, 1]}", "'uniforn' is no distribution of hyperopt, did you mean 'uniform'?"),
        ("{}", "it has 0 distributions; give one, e.g. {loguniform: [0.01, 10]}"),
    ],
)
def test_load_refuses_a_range_with_its_key_and_the_rule(faults, written, sentence):
    of_family = faults(f"{SMALL}tune: {{space: {{svc: {{C: {written}}}}}}}\n")
    of_estimator = faults(
        f"{SMALL}tune: {{estimators: {{knn: {{estimator: a.B, space: {{p: {written}}}}}}}}}\n"
    )
    assert of_family == [f"tune.space.svc.C: {sentence}"]
    assert of_estimator == [f"tune.estimators.knn.space.p: {sentence}"]


BUILT_IN = ", ".join(FAMILIES)


@pytest.mark.parametrize(
    ("tune", "sentences"),
    [
        (
            "space: {svc: {C: {uniform: [2, 1]}, gamma: {normal: [0, 0]}}}",
            [
                "tune.space.svc.C: uniform: low 2 must be below high 1",
                "tune.space.svc.gamma: normal: sigma 0 must be above 0",
            ],
        ),
        (
            "families: [svc, mlp], space: {svx: {C: 3}}",
            [
                "tune: space has ranges for 'svx', which is not in families, did you mean 'svc'? "
                "choose from svc, mlp"
            ],
        ),
        (
            "estimators: {svc: {estimator: a.B}}",
            ["tune.estimators: 'svc' is a family already; give the estimator another name"],
        ),
        (
            "estimators: {k: {estimator: K}}",
            ["tune.estimators.k.estimator: 'K' is no import path of a class; write package.Class"],
        ),
        (
            "estimators: {knn: {estimator: a.B, params: 3, parms: {}, default: [1]}}",
            [
                f"tune.estimators.knn.params is 3; {MAPPING}",
                f"tune.estimators.knn.default is [1]; {MAPPING}",
                "tune.estimators.knn.parms is not a setting, did you mean 'params'?",
            ],
        ),
        (
            "estimators: {knn: {estimator: a.B, preprocessing: [impute, scaled]}}",
            [
                "tune.estimators.knn.preprocessing[1] is 'scaled', did you mean 'scale'? "
                "choose from impute, scale, power"
            ],
        ),
        (
            "estimators: {knn: {estimator: a.B}}, families: [knm, svc, zzz, MLP]",
            [
                f"tune.families[0] is 'knm', did you mean 'knn'? choose from {BUILT_IN}, knn",
                f"tune.families[2] is 'zzz'; choose from {BUILT_IN}, knn",
                f"tune.families[3] is 'MLP', did you mean 'mlp'? choose from {BUILT_IN}, knn",
            ],
        ),
        (
            "estimators: {knn: {estimator: 3}}, families: [knn], space: {knn: {p: 1}}",
            ["tune.estimators.knn.estimator is 3; it should be a valid string"],
        ),
    ],
    ids=lambda part: str(part)[:60],
)
def test_load_refuses_a_fault_in_the_families_and_their_spaces(faults, tune, sentences):
    assert faults(f"{SMALL}tune: {{{tune}}}\n") == sentences


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("tune.space.svc.C", "{uniform: [1, 2]}", {"svc": {"C": {"uniform": [1, 2]}}}),
        ("tune.space.svc.C.uniform", "[1, 2]", {"svc": {"C": {"uniform": [1, 2]}}}),
        ("tune.space.svc.C", "1e-3", {"svc": {"C": 0.001}}),
        ("tune.space", "{}", {}),
    ],
)
def test_override_reaches_a_range_and_a_fixed_value(read, key, text, expected):
    assert read(overrides={key: text}).tune.model_dump()["space"] == expected


def test_override_of_a_range_leaves_the_others_of_the_file(read):
    text = SMALL + "tune: {space: {svc: {C: 3, gamma: 0.1}, mlp: {alpha: 2}}}\n"
    space = read(text, {"tune.space.svc.C": "{randint: [1, 9]}"}).tune.model_dump()["space"]
    assert space == {"svc": {"C": {"randint": [1, 9]}, "gamma": 0.1}, "mlp": {"alpha": 2}}


def test_override_makes_an_estimator(read):
    settings = {"estimator": "a.B", "params.p": "1", "preprocessing": "[power]"}
    overrides = {f"tune.estimators.knn.{key}": text for key, text in settings.items()}
    tune = read(overrides={**overrides, "tune.families": "[knn]"}).tune
    expected = Estimator(estimator="a.B", params={"p": 1}, preprocessing=("power",))
    assert (tune.families, tune.estimators) == (("knn",), {"knn": expected})


# Columns that are called like a setting, and texts that YAML readers take in several ways.


@pytest.mark.parametrize(
    ("key", "text"),
    [("data.columns.range.unit", "7"), ("data.columns.unit", "{unit: '7'}")],
)
def test_override_reaches_a_column_called_like_a_setting(read, key, text):
    name = key.split(".")[2]
    text_of = SMALL.replace("Weight: {}", f"{name}: {{}}")
    assert read(text_of, {key: text}).data.columns[name].unit == "7"


def test_load_hints_in_a_column_called_like_a_setting(faults):
    (line,) = faults(SMALL.replace("Weight: {}", "range: {unt: kg}"))
    assert line == "data.columns.range.unt is not a setting, did you mean 'unit'?"


def test_load_refuses_half_a_surrogate_pair(read):
    with pytest.raises(ConfigError, match=r"is not valid YAML: .*surrogates not allowed"):
        read(SMALL.replace("unit: years", 'unit: "\\ud800"'))


def test_load_does_not_reckon_in_base_60_or_8(faults, read):
    assert faults(f"{SMALL}tune: {{max_evals: 1:30}}\n") == [
        "tune.max_evals is '1:30'; it should be a valid integer"
    ]
    assert read(f"{SMALL}tune: {{max_evals: 010}}\n").tune.max_evals == 10


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (
            "{kind: catgory}",
            "Weight.kind is 'catgory', did you mean 'category'?",
        ),
        ("{kind: category, unt: kg}", "Weight.unt is not a setting, did you mean 'unit'?"),
        ("{kind: ordinal}", "Weight.levels is missing; the config must set it"),
        ("{kind: ordinal, levels: [a, a]}", "Weight.levels: the level 'a' is there twice"),
        ("{kind: date, range: [2024-03-30, 2024-01-01]}", "Weight.range: range is "),
    ],
)
def test_fault_in_a_column_of_a_kind_is_named_with_the_remedy(faults, column, sentence):
    (line,) = faults(SMALL.replace("Weight: {}", f"Weight: {column}"))
    assert line.startswith(f"data.columns.{sentence}")


@pytest.mark.parametrize(
    ("source", "model"),
    [
        ("people.csv", "people"),
        ("data/Churn 2024.csv.gz", "churn-2024"),
        ("https://host/a/b.parquet?x=1", "b"),
        ("visits/*.csv", None),
    ],
)
def test_model_is_called_as_the_table_where_the_config_names_none(read, faults, source, model):
    text = SMALL.replace("registry: {model: m}", "").replace("people.csv", source)
    if model is None:
        assert faults(text) == ["registry is missing; the config must set it"]
    else:
        assert read(text).registry.model == model
