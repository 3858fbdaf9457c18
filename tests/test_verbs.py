"""The table of verbs agrees with itself, with the config, the code and MLproject."""

from importlib.metadata import version

import pytest
import yaml

from pipeline import fingerprint, flow
from pipeline.config.keys import settings
from pipeline.config.paths import PROJECT
from pipeline.config.sections import Config
from pipeline.verbs import OPTIONS, VERBS, Options, needed, searches, sections, steps

ENTRY_POINTS = yaml.safe_load((PROJECT / "MLproject").read_text("utf-8"))["entry_points"]
MAIN = ("ingest", "analyze", "tune", "train", "evaluate", "promote")


def test_mlproject_has_an_entry_point_for_each_verb_in_their_order():
    assert list(ENTRY_POINTS) == ["main" if verb == "run" else verb for verb in VERBS]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if VERBS[verb].reads_config])
def test_entry_point_hands_on_the_config_and_what_the_verb_takes_after_it(verb):
    entry_point = ENTRY_POINTS["main" if verb == "run" else verb]
    words, required = ("config", *VERBS[verb].arguments), VERBS[verb].required
    assert tuple(entry_point["parameters"]) == (*words, *required)
    assert entry_point["parameters"]["config"]["default"] == "configs/pima.yaml"
    options = [f"--{name} {{{name}}}" for name in required]
    placed = " ".join([*(f"{{{word}}}" for word in words), *options])
    assert entry_point["command"] == f"python -m pipeline {verb} {placed}"


def test_entry_point_of_init_hands_on_the_table_and_the_target():
    entry_point = ENTRY_POINTS["init"]
    assert set(entry_point["parameters"]) <= set(VERBS["init"].options)
    assert entry_point["command"] == "python -m pipeline init {data} --target {target}"


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_names_exists(verb):
    row = VERBS[verb]
    assert set(row.sections) <= set(Config.model_fields)
    assert set(row.options) <= set(OPTIONS)
    assert set(row.aliases.values()) <= {key for key, _ in settings()}
    assert all(version(library) for library in row.libraries)
    assert all(fingerprint._file(module) for module in row.modules)
    assert bool(row.modules) is row.is_step


def test_flow_has_a_function_for_each_step():
    assert set(flow.STEPS) == {verb for verb in VERBS if VERBS[verb].is_step}


def test_every_section_is_of_a_verb():
    assert {name for row in VERBS.values() for name in row.sections} == set(Config.model_fields)


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        ("run", MAIN),
        ("ingest", ("ingest",)),
        ("analyze", ("ingest", "analyze")),
        ("tune", ("ingest", "tune")),
        ("train", ("ingest", "tune", "train")),
        ("evaluate", ("ingest", "tune", "train", "evaluate")),
        ("promote", ("ingest", "tune", "train", "evaluate", "promote")),
        ("compare", ("ingest", "compare")),
        ("audit", ("ingest", "audit")),
        ("rollback", ()),
    ],
)
def test_verb_needs_the_steps_before_it_in_their_order(verb, expected):
    assert needed(verb) == steps(verb, Options()) == expected
    assert searches(verb, Options()) is bool({"tune", "audit"} & set(expected))


def test_run_that_is_named_is_promoted_without_the_steps_that_made_it():
    options = Options(run="abc")
    assert steps("promote", options) == ("ingest", "promote")
    assert not searches("promote", options)


def test_settings_of_run_are_those_of_its_steps_and_of_a_step_its_own():
    assert sections("run") == tuple(name for step in MAIN for name in VERBS[step].sections)
    assert sections("train") == ("train",)
    assert sections("analyze") == ()
