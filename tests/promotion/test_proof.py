"""The proof, on models in folders as training leaves them."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.errors import ModelError
from pipeline.inference import manifest, model_folder
from pipeline.inference.predictor import Predictor
from pipeline.inference.runtimes import of_estimator
from pipeline.promotion import proof
from pipeline.results import Dataset, Version
from pipeline.schema.columns import NumberColumn
from pipeline.schema.rules import decode
from tests.support import model_folders as folders
from tests.support.builders import make_dataset
from tests.support.mixed import make_mixed_dataset


class Case:
    """A model in a folder, and the pipeline that it was made of."""

    def __init__(self, folder: Path, dataset: Dataset, **options: Any) -> None:
        self.dataset = dataset
        self.folder = folders.save(folder, dataset, **options)
        model = pickle.loads((self.folder / model_folder.PICKLE).read_bytes())
        predict = of_estimator(model, dataset.contract)
        trained = model_folder.load(self.folder).trained
        self.original = Predictor(dataset.contract, predict, trained)

    def prove(
        self, folder: Path | None = None, rows: pd.DataFrame | None = None
    ) -> tuple[int, str]:
        folder = folder or self.folder
        rows = self.dataset.X_test.head(20) if rows is None else rows
        version = Version("visits", "7", "", {}, manifest.of(folder))
        return proof.prove(version, folder, self.original, rows)

    def changed(self, target: Path, change: Callable[[Path], None]) -> Path:
        """A copy of the folder, of which the manifest is taken after the change."""
        shutil.copytree(self.folder, target)
        change(target)
        return target


@pytest.fixture(scope="module")
def pima(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("pima") / "model", folders.pima())


def test_model_that_is_as_it_was_fitted_is_proven(pima: Case) -> None:
    count, message = pima.prove()
    assert message == ""
    assert count > 50


def test_three_classes_and_an_optional_column_are_proven(tmp_path: Path) -> None:
    case = Case(tmp_path / "model", make_dataset(("a", "b", "c"), None))
    assert case.prove()[1] == ""


def test_model_that_is_not_compiled_is_proven_in_the_process_beside(tmp_path: Path) -> None:
    case = Case(tmp_path / "model", make_dataset(), is_compiled=False)
    assert case.prove()[1] == ""


def test_columns_of_each_kind_and_texts_are_proven(tmp_path: Path) -> None:
    case = Case(tmp_path / "model", make_mixed_dataset(with_texts=True))
    rows = decode(case.dataset.contract.columns, case.dataset.X_test.head(20))
    assert case.prove(rows=rows)[1] == ""


def test_requests_hold_the_example_gaps_and_every_broken_rule(pima: Case) -> None:
    rows = pima.dataset.X_test.head(20)
    requests = proof.requests(pima.folder, pima.original, rows)
    expected = [proof.expect(pima.original, one.rows) for one in requests]
    answered = [one for one in expected if not isinstance(one, str)]
    assert requests[0].body == (pima.folder / model_folder.EXAMPLE).read_bytes()
    assert len(answered[1]["predictions"]) == 20
    assert {one for one in expected if isinstance(one, str)} == {"columns", "type", "range"}
    columns = pima.dataset.contract.columns
    assert expected.count("columns") == len(columns) + 1  # each absent, and one unknown
    assert expected.count("type") == 2 * len(columns)
    for name in columns:
        assert any(one.rows[0].get(name, 0) is None for one in requests)


@pytest.mark.parametrize(("name", "low", "high"), [("Glucose", 20, 600), ("Age", 18, 120)])
def test_requests_are_just_outside_of_each_range(pima: Case, name, low, high) -> None:
    requests = proof.requests(pima.folder, pima.original, pima.dataset.X_test.head(1))
    numbers = {one.rows[0].get(name) for one in requests}
    assert np.nextafter(low, -np.inf) in numbers
    assert np.nextafter(high, np.inf) in numbers


def test_rules_of_a_wide_table_are_asked_of_forty_columns(pima: Case) -> None:
    columns = dict.fromkeys((f"c{place}" for place in range(500)), NumberColumn())
    asked = proof._asked(columns)
    assert 40 <= len(asked) < 80
    assert set(asked) <= set(columns)
    assert "c0" in asked
    assert proof._asked(pima.dataset.contract.columns) == pima.dataset.contract.columns


def swap_graph(folder: Path) -> None:
    """For that of a model with other weights."""
    other = folders.save(folder.parent / "other", folders.pima(), family="extra_trees")
    shutil.copy(other / model_folder.GRAPH, folder)


def other_threshold(folder: Path) -> None:
    served = json.loads((folder / model_folder.SERVED).read_text())
    (folder / model_folder.SERVED).write_text(json.dumps({**served, "threshold": 0.01}))


def wider_range(folder: Path) -> None:
    contract = json.loads((folder / model_folder.CONTRACT).read_text())
    contract["columns"]["Glucose"]["range"] = [20, 601]
    (folder / model_folder.CONTRACT).write_text(json.dumps(contract))


def no_mark(folder: Path) -> None:
    contract = json.loads((folder / model_folder.CONTRACT).read_text())
    contract["columns"]["Insulin"] |= {"missing": None, "range": [0, 1500]}
    (folder / model_folder.CONTRACT).write_text(json.dumps(contract))


@pytest.mark.parametrize("change", [swap_graph, other_threshold, wider_range, no_mark])
def test_model_that_answers_otherwise_is_told_with_the_request(
    pima: Case, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    _, message = pima.prove(pima.changed(tmp_path / "model", change))
    assert "dataframe_records" in message
    assert ", and in the process " in message


def without_name(folder: Path) -> None:
    """MLflow's signature as it is where a column has an empty name, which it cannot match."""
    path = folder / "MLmodel"
    path.write_text(path.read_text().replace('"name": "Age"', '"name": ""'))


def other_type(folder: Path) -> None:
    """Integers, which MLflow refuses to be missing."""
    path = folder / "MLmodel"
    tree = yaml.safe_load(path.read_text())
    inputs = json.loads(tree["signature"]["inputs"])
    tree["signature"]["inputs"] = json.dumps([{**one, "type": "integer"} for one in inputs])
    path.write_text(yaml.safe_dump(tree))


@pytest.mark.parametrize("change", [without_name, other_type])
def test_model_that_only_the_production_door_can_serve_is_refused(
    pima: Case, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    _, apart = pima.prove(pima.changed(tmp_path / "model", change))
    assert apart.startswith("by MLflow's own command, {")
    assert " gives the refusal 'refused', and in the process " in apart


@pytest.mark.parametrize(
    "name",
    [" ", "0", "nan", "a\nb", "a\rb", 'a,"b"', "a\\b:c", "\x00", "\ufeffx", "😀", "Unnamed: 0"],
)
def test_both_doors_serve_columns_of_any_other_name(tmp_path: Path, name: str) -> None:
    dataset = make_dataset()
    columns = {name if old == "height" else old: c for old, c in dataset.contract.columns.items()}
    renamed = replace(
        dataset,
        contract=dataset.contract.model_copy(update={"columns": columns}),
        X_train=dataset.X_train.set_axis([*columns], axis=1),
        X_test=dataset.X_test.set_axis([*columns], axis=1),
    )
    count, apart = Case(tmp_path / "model", renamed).prove()
    assert (apart, count > 20) == ("", True)


def test_model_that_is_not_what_its_manifest_lists_is_refused(pima: Case, tmp_path: Path) -> None:
    folder = pima.changed(tmp_path / "model", lambda folder: None)
    version = Version("visits", "7", "", {}, manifest.of(folder))
    (folder / model_folder.PICKLE).write_bytes(b"")
    with pytest.raises(ModelError, match=r"model\.pkl was changed"):
        proof.prove(version, folder, pima.original, pima.dataset.X_test.head(1))


def test_model_without_an_example_is_proven_by_the_rest(pima: Case, tmp_path: Path) -> None:
    folder = pima.changed(tmp_path / "m", lambda copy: (copy / model_folder.EXAMPLE).unlink())
    count, message = pima.prove(folder)
    assert (count, message) == (pima.prove()[0] - 1, "")


def test_expected_outcome_of_a_pipeline_is_its_own_answer(pima: Case) -> None:
    row = pima.dataset.X_test.iloc[:1]
    rows = json.loads(row.to_json(orient="records"))
    (answer,) = proof.expect(pima.original, rows)["predictions"]
    assert isinstance(pima.original, Predictor)
    assert answer["probability"] == pima.original.predict(pd.DataFrame(row).to_numpy())[0, 1]
