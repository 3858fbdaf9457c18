import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import fingerprint
from pipeline.config import load as config_file
from pipeline.config.sections import Config
from pipeline.config.tune import Estimator
from pipeline.schema.columns import NumberColumn
from pipeline.verbs import VERBS, needed
from tests.support.builders import COLUMNS, make_config

STEPS = needed("run")
AFTER_TUNE = {"tune", "train", "evaluate", "promote"}
AFTER_TRAIN = AFTER_TUNE - {"tune"}
DIGEST = "d" * 64
NEIGHBORS = "sklearn.neighbors.KNeighborsClassifier"
EVERY_GATE = {
    "floors": {"roc_auc": 0.7, "log_loss": 0.6},
    "slices": {"height": (0.0,)},
    "slice_floors": {"accuracy": 0.5},
}
EVERY_TUNE = {  # with something in each mapping
    "families": ("logistic_regression", "knn"),
    "estimators": {"knn": Estimator(estimator=NEIGHBORS)},
    "space": {"logistic_regression": {"C": {"uniform": [1, 2]}}},
}


def changed(config: Config, key: str, value: Any) -> Config:
    section, name = key.split(".")
    inner = getattr(config, section).model_copy(update={name: value})
    return config.model_copy(update={section: inner})


def fingerprints(config: Config, digest: str = DIGEST) -> dict[str, str]:
    """By step."""
    inputs = {step: fingerprint.inputs(step, config, digest) for step in STEPS}
    return {step: fingerprint.fingerprint(inputs[step]) for step in STEPS}


def steps_that_differ(before: Config, after: Config) -> set[str]:
    first, other = fingerprints(before), fingerprints(after)
    return {step for step in STEPS if first[step] != other[step]}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package."""
    copy = tmp_path_factory.mktemp("copied") / "pipeline"
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(fingerprint.PACKAGE, copy, ignore=ignored))


@pytest.fixture
def change(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Changes a module of the copy, which the code digests are made of, for the test's length."""
    monkeypatch.setattr(fingerprint, "PACKAGE", copied)
    before: dict[Path, str] = {}

    def change(module: str, source: Callable[[str], str]) -> None:
        path = copied / f"{module}.py"
        before[path] = path.read_text("utf-8")
        path.write_text(source(before[path]), "utf-8")

    yield change
    for path, source in before.items():
        path.write_text(source, "utf-8")


def code_digests() -> dict[str, str]:
    return {step: fingerprint.inputs(step, make_config(), DIGEST)["code"] for step in STEPS}


def test_fingerprint_is_of_the_step_and_the_data():
    first, other = fingerprints(make_config()), fingerprints(make_config(), digest="e" * 64)
    assert first == fingerprints(make_config())
    assert len({*first.values(), *other.values()}) == 2 * len(STEPS)


def test_fingerprint_is_a_sha256_of_names_and_values_in_any_order():
    digest = fingerprint.fingerprint({"a": 1, "b": [0.5, None]})
    assert len(digest) == 64
    assert digest == fingerprint.fingerprint({"b": [0.5, None], "a": 1})
    assert digest != fingerprint.fingerprint({"a": 1, "b": [0.5, 0]})
    assert digest != fingerprint.fingerprint({"a": [0.5, None], "b": 1})


@pytest.mark.parametrize("step", STEPS)
def test_inputs_are_plain_values_by_name(step):
    inputs = fingerprint.inputs(step, make_config(gate={"floors": {"roc_auc": 0.7}}), DIGEST)
    assert json.loads(json.dumps(inputs)) == inputs
    assert inputs["data digest"] == DIGEST
    assert inputs["data.target"] == "label"
    assert inputs["data.columns.height"] == {"unit": "cm"}
    assert {"code", "python", "numpy", "scikit-learn"} <= set(inputs)
    assert ("tune.max_evals" in inputs) is (step not in ("ingest", "analyze"))
    assert ("gate.floors.roc_auc" in inputs) is (step == "promote")


@pytest.mark.parametrize(
    ("key", "value", "steps"),
    [
        ("data.target", "other", set(STEPS)),
        ("data.positive", 0, set(STEPS)),
        ("data.weight", "count", set(STEPS)),
        ("data.labels", {"1": "ill"}, set(STEPS)),
        ("data.drop", {"id": "unique in each row"}, set(STEPS)),
        ("data.positive", True, set(STEPS)),  # 1 == True, and yet another class
        ("split.seed", 9, set(STEPS)),
        ("split.stratify", False, set(STEPS)),
        ("split.group", "patient", set(STEPS)),
        ("split.time", "visit", set(STEPS)),
        ("tune.max_evals", 9, AFTER_TUNE),
        ("tune.families", ("svc",), AFTER_TUNE),
        ("tune.patience", 3, AFTER_TUNE),
        ("tune.timeout", 3.0, AFTER_TUNE),
        ("tune.max_rows", 500, AFTER_TUNE),
        ("train.max_rows", 500, AFTER_TUNE),
        ("train.threshold", 0.5, AFTER_TRAIN),
        ("train.cost_false_negative", 2.0, AFTER_TRAIN),
        ("evaluate.resamples", 300, {"evaluate", "promote"}),
        ("gate.floors", {"accuracy": 0.5}, {"promote"}),
        ("registry.model", "other", {"promote"}),
        # Where and how fast, not what.
        ("data.source", "elsewhere/other.csv", set()),
        ("data.sha256", "a" * 64, set()),
        ("data.timeout", 5.0, set()),
        ("tune.parallelism", 7, set()),
        ("spark.master", "local[3]", set()),
        ("serve.workers", 3, set()),
    ],
)
def test_setting_counts_for_its_step_and_those_after(key, value, steps):
    config = make_config()
    assert steps_that_differ(config, changed(config, key, value)) == steps


def test_order_of_the_families_counts():
    config = make_config(tune={"families": ("svc", "mlp")})
    other = make_config(tune={"families": ("mlp", "svc")})
    assert "tune" in steps_that_differ(config, other)


def test_every_setting_counts_unless_it_is_of_where_or_how_fast():
    config = make_config(gate=EVERY_GATE, tune=EVERY_TUNE)
    config = changed(config, "data.drop", {"id": "unique in each row"})
    config = changed(config, "data.labels", {"1": "ill"})
    inputs = fingerprint.inputs("promote", config, DIGEST) | fingerprint.inputs(
        "audit", config, DIGEST
    )
    for key, _ in config_file.settings():
        counts = any(name == key or name.startswith(f"{key}.") for name in inputs)
        where = key in fingerprint.UNCOUNTED or key.startswith(("serve.", "monitor."))
        assert counts is not where


@pytest.mark.parametrize(
    "column",
    [
        NumberColumn(missing=0.0),
        NumberColumn(missing=-1.0),
        NumberColumn(range=(0.0, None)),
        NumberColumn(range=(None, 0.0)),
        NumberColumn(optional=True),
        NumberColumn(unit="kg"),
        NumberColumn(meaning="else"),
    ],
)
def test_what_is_said_of_a_column_counts_for_every_step(column):
    other = make_config(columns={**COLUMNS, "noise": column})
    assert steps_that_differ(make_config(), other) == set(STEPS)


def test_column_more_or_less_counts():
    fewer = make_config(columns={"height": COLUMNS["height"]})
    assert steps_that_differ(make_config(), fewer) == set(STEPS)


@pytest.mark.parametrize(
    ("library", "steps"),
    [
        ("numpy", set(STEPS)),
        ("scikit-learn", set(STEPS)),
        ("pyarrow", set(STEPS)),
        ("skrub", {"analyze"}),
        ("hyperopt", AFTER_TUNE),
        ("mlflow", AFTER_TRAIN),
    ],
)
def test_version_of_a_library_counts_where_it_is_used(library, steps, monkeypatch):
    before = {step: fingerprint.inputs(step, make_config(), DIGEST) for step in STEPS}
    genuine = fingerprint.version
    monkeypatch.setattr(
        fingerprint, "version", lambda name: "99" if name == library else genuine(name)
    )
    after = {step: fingerprint.inputs(step, make_config(), DIGEST) for step in STEPS}
    assert {step for step in STEPS if before[step] != after[step]} == steps


@pytest.mark.parametrize(
    ("module", "steps"),
    [
        ("__init__", set(STEPS)),
        ("schema/columns", set(STEPS)),  # by way of contract
        ("models/__init__", AFTER_TUNE),
        ("models/ensemble", AFTER_TUNE),
        ("tuning/selection", AFTER_TUNE),
        ("tracking/arrays", AFTER_TUNE),
        ("datasets/row_hash", AFTER_TRAIN),  # a reused training is compared by its rows
        ("inference/mlflow_flavor", AFTER_TRAIN),
        ("export/onnx_graph", AFTER_TRAIN),
        ("tracking/logged_model", AFTER_TRAIN),
        ("flow", set()),
        ("api", set()),
    ],
)
def test_code_of_a_module_counts_where_its_result_is_kept(module, steps, change):
    before = code_digests()
    change(module, lambda source: f"{source}\n# changed\n")
    after = code_digests()
    assert {step for step in STEPS if before[step] != after[step]} == steps


@pytest.mark.parametrize(
    "statement",
    [
        "import pipeline.models.absent",
        "from pipeline.absent import name",
        "def late():\n    from pipeline.models.absent import name",
    ],
)
def test_module_that_is_not_there_is_refused(change, statement):
    change("steps/ingest", lambda _: statement)
    fingerprint._imports.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"pipeline has no module '(models\.)?absent'"):
        fingerprint.inputs("ingest", make_config(), DIGEST)
    fingerprint._imports.cache_clear()


def test_code_of_a_step_is_read_without_parsing_a_module_twice(monkeypatch):
    fingerprint._imports.cache_clear()
    parsed: list[str] = []
    parse = ast.parse
    with monkeypatch.context() as patch:
        patch.setattr(ast, "parse", lambda source: parsed.append(source) or parse(source))
        fingerprint.inputs("tune", make_config(), DIGEST)
    files = [source for source in parsed if source]  # packages are empty but for a docstring
    assert len(files) == len(set(files)) > 10


def test_code_covers_every_module_that_python_loads_for_the_step():
    modules = {step: VERBS[step].modules for step in VERBS if VERBS[step].is_step}
    program = f"""
import importlib, json, sys
loaded = {{}}
for step, modules in {modules!r}.items():
    for name in [name for name in sys.modules if name.split(".")[0] == "pipeline"]:
        del sys.modules[name]
    for module in modules:
        importlib.import_module("pipeline." + module)
    loaded[step] = [n for n in sys.modules if n.split(".")[0] == "pipeline"]
print(json.dumps(loaded))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        cwd=fingerprint.PACKAGE.parent,
        text=True,
    )
    for step, names in json.loads(done.stdout).items():
        files = {fingerprint._file(name.removeprefix("pipeline").lstrip(".")) for name in names}
        assert fingerprint._closure(modules[step]) >= files


def test_flatten_tells_every_setting_of_the_run():
    config = make_config(gate=EVERY_GATE, tune=EVERY_TUNE)
    flat = fingerprint.flatten(config)
    assert flat["data.source"] == "folder/people.csv"
    assert flat["tune.families"] == ["logistic_regression", "knn"]
    assert flat["tune.space.logistic_regression"] == {"C": {"uniform": [1, 2]}}
    assert flat["tune.estimators.knn"]["estimator"] == NEIGHBORS
    assert flat["tune.timeout"] is None
    assert (flat["gate.floors.roc_auc"], flat["gate.floors.log_loss"]) == (0.7, 0.6)
    assert flat["data.columns.flag"] == {"range": [0.0, 1.0]}
    assert flat["data.columns.noise"] == {}
    mappings = ("data.columns", "data.drop", "data.labels", "tune.estimators", "tune.space")
    mappings += ("gate.floors", "gate.slices", "gate.slice_floors")
    names = {key for key in flat if not key.startswith(tuple(f"{name}." for name in mappings))}
    settings = {key for key, _ in config_file.settings()}
    assert names == settings - set(mappings)


def test_flatten_of_a_section_leaves_the_others_out():
    flat = fingerprint.flatten(make_config(), ["split"])
    assert flat == {
        "split.test_size": 0.3,
        "split.seed": 1,
        "split.stratify": True,
        "split.group": None,
        "split.time": None,
    }
