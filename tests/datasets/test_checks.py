"""What the checks find in tables that each have one fault, and that their cure cures it."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline.config.load import load
from pipeline.config.sections import Config
from pipeline.datasets.checks.finding import Finding, draw
from pipeline.datasets.checks.table import CHECKS, check_table, together
from pipeline.datasets.dataset import build_dataset
from pipeline.datasets.sources import open_source
from pipeline.reporting.findings import MOST_IN_NOTE, REMEDY, findings_note, findings_page
from pipeline.results import Dataset

ROWS = 400


def clean_table(rows: int = ROWS) -> pd.DataFrame:
    """Columns of several kinds that tell something of the target, and have no fault."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    return pd.DataFrame(
        {
            "weight": (rng.normal(70 + 4 * y, 12)).round(1),
            "amount": rng.exponential(100, rows).round(2),
            "visits": rng.poisson(3 + y),
            "city": rng.choice(["Rome", "Oslo", "Bonn"], rows),
            "y": y,
        }
    )


def settings_of(table: pd.DataFrame, kinds: dict[str, str]) -> dict[str, Any]:
    """A config that lists the columns: numbers, categories, or as said."""
    usual = {name: "number" if table[name].dtype.kind in "if" else "category" for name in table}
    columns = {name: {"kind": kind} for name, kind in {**usual, **kinds}.items() if name != "y"}
    return {
        "data": {"source": "a.csv", "target": "y", "columns": columns},
        "registry": {"model": "m"},
        "tune": {"folds": 2},
    }


def built(settings: dict[str, Any], table: pd.DataFrame) -> Dataset:
    classes = table["y"].unique()
    positive = {"positive": classes.max().item()} if len(classes) == 2 else {}
    data = {**settings["data"], **positive}
    config = Config.model_validate({**settings, "data": data}, strict=False)
    return build_dataset(config, table.copy(), digest="0" * 64)


def pasted(settings: dict[str, Any], text: str) -> dict[str, Any]:
    """The config with what a finding prints: a dropped column loses its line."""
    changes = YAML(typ="safe").load(text) or {}
    data, added = settings["data"], changes.get("data", {})
    drop = {**data.get("drop", {}), **added.get("drop", {})}
    columns = {**data["columns"], **added.pop("columns", {})}
    columns = {name: column for name, column in columns.items() if name not in drop}
    split = {**settings.get("split", {}), **changes.get("split", {})}
    return {**settings, "data": {**data, **added, "columns": columns, "drop": drop}, "split": split}


def spiked(column: str, marks: list[float], rows: int = 12) -> pd.DataFrame:
    table = clean_table()
    places = np.random.default_rng(1).choice(ROWS, rows * len(marks), replace=False)
    table[column] = table[column].astype(float)
    table.loc[places, column] = np.repeat(marks, rows)
    return table


def with_column(cells: Any, name: str = "x") -> pd.DataFrame:
    table = clean_table()
    return table.assign(**{name: cells(table) if callable(cells) else cells})


def random(seed: int = 2) -> np.random.Generator:
    return np.random.default_rng(seed)


def emails(table: pd.DataFrame) -> Any:
    return random().choice([f"user{n}@example.org" for n in range(40)], len(table))


def leak(table: pd.DataFrame) -> Any:
    """Zero where the target is 0, all but a few."""
    amounts = random().exponential(10, len(table)) * table["y"]
    return amounts.where(random(3).random(len(table)) > 0.01, 0.0)


def of_patients(table: pd.DataFrame) -> Any:
    return random().integers(1000, 1080, len(table))


def days(table: pd.DataFrame) -> Any:
    dates = pd.date_range("2024-01-01", periods=len(table)).strftime("%Y-%m-%d")
    return random().permutation(dates)


@dataclass
class Fault:
    check: str
    table: pd.DataFrame
    columns: list[str]  # that the findings name, in order
    settings: dict[str, Any]  # that they propose, in all
    kinds: dict[str, str] = field(default_factory=dict)


def missing(name: str, mark: Any) -> dict[str, Any]:
    return {"data": {"columns": {name: {"missing": mark}}}}


def drop(name: str) -> dict[str, Any]:
    return {"data": {"drop": {name: ...}}}


FAULTS = {
    "zeros": Fault("missing_numbers", spiked("weight", [0]), ["weight"], missing("weight", 0)),
    "999": Fault(
        "missing_numbers", spiked("amount", [99999]), ["amount"], missing("amount", 99999)
    ),
    "-1 of counts": Fault(
        "missing_numbers", spiked("visits", [-1]), ["visits"], missing("visits", -1)
    ),
    "97 and 98": Fault(
        "missing_numbers", spiked("visits", [97, 98]), ["visits"], missing("visits", [98, 97])
    ),
    "-9": Fault("missing_numbers", spiked("amount", [-9]), ["amount"], missing("amount", -9)),
    "texts": Fault(
        "missing_texts",
        with_column(lambda t: np.where(t.index % 9 == 0, "?", t["city"]), "city"),
        ["city"],
        missing("city", "?"),
    ),
    "leak": Fault("leaks", with_column(leak), ["x"], drop("x")),
    "gaps that leak": Fault(
        "leaks", with_column(lambda t: t["weight"].where(t["y"] == 1)), ["x"], drop("x")
    ),
    "target in words": Fault(
        "leaks", with_column(lambda t: np.where(t["y"] == 1, "ill", "well")), ["x"], drop("x")
    ),
    "in pounds": Fault("copies", with_column(lambda t: -2.2 * t["weight"]), ["x"], drop("x")),
    "city as a code": Fault(
        "copies",
        with_column(lambda t: t["city"].map({"Rome": 7, "Oslo": 1, "Bonn": 3})),
        ["x"],
        drop("x"),
    ),
    "constant": Fault(
        "near_constant", with_column(np.r_[np.zeros(ROWS - 2), 1, 1]), ["x"], drop("x")
    ),
    "rare levels": Fault(
        "rare_levels",
        with_column(np.r_[np.repeat(["a", "b"], ROWS // 2 - 1), ["c", "d"]]),
        ["x"],
        {"data": {"columns": {"x": {"levels": ["a", "b"]}}}},
    ),
    "e-mail addresses": Fault("personal_data", with_column(emails), ["x"], drop("x")),
    "names": Fault(
        "personal_data",
        with_column(random().choice([f"N{n}" for n in range(30)], ROWS), "lastName"),
        ["lastName"],
        drop("lastName"),
    ),
    "birth dates": Fault(
        "personal_data",
        with_column(days, "birth_date"),
        ["birth_date"],
        drop("birth_date"),
        {"birth_date": "date"},
    ),
    "patients": Fault(
        "groups_and_times",
        with_column(of_patients, "patient_id"),
        ["patient_id"],
        {**drop("patient_id"), "split": {"group": "patient_id"}},
    ),
    "dates": Fault(
        "groups_and_times",
        with_column(days, "day"),
        ["day"],
        {"split": {"time": "day"}},
        {"day": "date"},
    ),
    "rows of a patient twice": Fault(
        "repeated_rows",
        pd.concat([with_column(of_patients, "patient_id")] * 2, ignore_index=True),
        [],
        {"split": {"group": "patient_id"}},
    ),
}


def proposed(text: str, expected: Any) -> bool:
    """Whether the text of YAML has what is expected, whatever it has besides."""

    def has(settings: Any, wanted: Any) -> bool:
        if isinstance(wanted, dict):
            return all(name in settings and has(settings[name], wanted[name]) for name in wanted)
        return wanted is ... or settings == wanted

    return has(YAML(typ="safe").load(text), expected)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_fault_is_named_and_gone_when_its_yaml_is_pasted(fault: Fault):
    settings = settings_of(fault.table, fault.kinds)
    findings = check_table(built(settings, fault.table))

    (finding,) = findings[fault.check]
    assert [finding.sentence.split(":")[0]][: len(fault.columns)] == fault.columns
    assert proposed(finding.yaml, fault.settings)
    cured = check_table(built(pasted(settings, finding.yaml), fault.table))
    assert cured[fault.check] == []


def test_table_without_a_fault_has_no_finding():
    table = clean_table()
    findings = check_table(built(settings_of(table, {}), table))
    assert list(findings) == list(CHECKS)
    assert findings == {name: [] for name in CHECKS}


@pytest.mark.parametrize(
    ("texts", "check"),
    [
        (lambda t: t["y"].map({0: "all is well", 1: "it is broken"}), "leaks"),
        (lambda t: [f"ann.{place}@web.org" for place in t.index], "personal_data"),
        (lambda t: ["the same", *["none other"] * (ROWS - 1)], "near_constant"),
    ],
)
def test_column_of_texts_is_checked_as_others_are(texts, check):
    table = clean_table()
    table.insert(0, "note", texts(table))
    settings = settings_of(table, {"note": "text"})

    findings = {name: each for name, each in check_table(built(settings, table)).items() if each}

    assert list(findings) == [check]
    assert list(findings[check][0].drop) == ["note"]


@pytest.mark.parametrize("are_listed", [True, False])
def test_all_settings_together_cure_all_faults(are_listed):
    table = spiked("weight", [0]).assign(city=lambda t: np.where(t.index < 3, "unknown", t["city"]))
    table.loc[3, "city"] = "Atlantis"
    table["x"] = leak(table)
    settings = settings_of(table, {})
    if not are_listed:
        settings["data"]["columns"] = {}
    dataset = built(settings, table)
    findings = [one for each in check_table(dataset).values() for one in each]
    assert len(findings) == 4

    page = findings_page(findings, not are_listed)
    assert all(one.sentence in page for one in findings)
    *each, whole = re.findall("```yaml\n(.*?)```", page, re.DOTALL)
    assert len(each) == len(findings)
    changes = YAML(typ="safe").load(whole)["data"]
    assert list(changes["drop"]) == ["x"]
    assert changes["columns"]["city"]["levels"] == ["Bonn", "Oslo", "Rome"]
    assert changes["columns"]["city"]["missing"] == "unknown"
    cured = check_table(built(pasted(settings, whole), table))
    assert cured == {name: [] for name in CHECKS}


def test_raw_pima_table_gets_its_five_marks():
    tutorial = load("configs/tutorial.yaml", {})
    dataset = build_dataset(tutorial, open_source(tutorial.data).read(), "0" * 64)

    findings = [one for each in check_table(dataset).values() for one in each]

    columns = together(findings).columns
    assert {name: column.missing for name, column in columns.items()} == dict.fromkeys(
        ["Glucose", "BloodPressure", "SkinThickness", "Insulin", "BMI"], 0
    )
    assert len(findings) == 5


def test_rows_that_are_in_both_parts_are_counted_and_can_be_left_out():
    table = clean_table()
    twice = pd.concat([table, table.head(100)], ignore_index=True)
    dataset = built(settings_of(table, {}), twice)
    common = dataset.X_test.merge(dataset.X_train.drop_duplicates()).shape[0]

    (finding,) = check_table(dataset)["repeated_rows"]
    assert finding.sentence.startswith(f"{common} of {len(dataset.X_test)} rows")
    assert "drop_duplicates" in finding.sentence
    assert (
        check_table(built(settings_of(table, {}), twice.drop_duplicates(ignore_index=True)))[
            "repeated_rows"
        ]
        == []
    )


def test_rows_of_a_few_levels_may_be_alike_by_chance():
    rng = random()
    table = pd.DataFrame(rng.integers(0, 3, (ROWS, 4)), columns=list("abcd"))
    table["y"] = rng.integers(0, 2, ROWS)
    dataset = built(settings_of(table, {}), table)
    assert len(dataset.X_test.merge(dataset.X_train.drop_duplicates())) > 50
    assert check_table(dataset)["repeated_rows"] == []


@pytest.mark.parametrize("rises", [True, False])
def test_shift_of_a_split_by_time_is_named(rises):
    rng, when = random(), np.arange(ROWS)
    table = clean_table().assign(
        when=when,
        level=rng.normal(size=ROWS) + (when / 100 if rises else 0),
        kind=np.where(rng.random(ROWS) < (when / ROWS if rises else 0.5), "new", "old"),
    )
    settings = {**settings_of(table, {}), "split": {"time": "when"}}
    sentences = [one.sentence for one in check_table(built(settings, table))["shift"]]
    assert sorted(one.split(":")[0] for one in sentences) == (["kind", "level"] if rises else [])
    assert not rises or any("(new in " in one for one in sentences)


def test_class_of_a_few_rows_is_named():
    table = clean_table(rows=1000)
    table.loc[:19, "y"] = 2
    (finding,) = check_table(built(settings_of(table, {}), table))["rare_classes"]
    assert "the class 2 has 6 rows in the test part" in finding.sentence
    assert not finding.yaml


def test_large_table_is_checked_by_a_seeded_sample_with_rows_of_rare_classes():
    table = clean_table(rows=2000).assign(y=lambda t: (t.index % 100 == 7).astype(int))
    dataset = built(settings_of(table, {}), table)
    first, again = (draw(dataset, 300) for _ in range(2))
    assert first.X.index.tolist() == again.X.index.tolist()
    assert 300 <= len(first.X) == len(first.y) < 330
    assert first.y.sum() == 20
    assert (first.y == dataset.y.loc[first.X.index]).all()
    assert set(first.X.index[first.is_test]) <= set(dataset.X_test.index)


def test_note_holds_the_first_findings_and_says_how_many_more_there_are():
    findings = [Finding(f"c{place}: is wrong") for place in range(MOST_IN_NOTE + 2)]
    note = findings_note(findings)
    assert note.startswith(f"{MOST_IN_NOTE + 2} findings")
    assert note.endswith("2 more are in findings.md.")
    assert f"{MOST_IN_NOTE}. c{MOST_IN_NOTE - 1}: is wrong" in note


def test_note_says_what_to_do_with_the_settings_that_it_proposes():
    note = findings_note([Finding("c: has one value", drop={"c": "one value"})])
    assert note.endswith(REMEDY)
