"""`predict`: the champion's answers for a file, and the run that tells of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

import pipeline
from pipeline.api import execute
from pipeline.config.sections import Config
from pipeline.datasets.answer_files import AnswerFile
from pipeline.errors import PipelineError
from pipeline.flow import Result
from pipeline.models import import_paths
from pipeline.steps.predict import Scorer
from pipeline.tracking import registry
from pipeline.verbs import Options
from tests.support.promotion_lab import Lab

MODEL = "scored"


@pytest.fixture(scope="module")
def config(lab: Lab) -> Config:
    """Of a model with two versions, of which the second is champion."""
    return lab.with_two_versions(MODEL)


@pytest.fixture
def table(lab: Lab) -> pd.DataFrame:
    return lab.table.rename(columns={lab.table.columns[-1]: "truth"}).assign(id=lab.table.index)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the process works, without PySpark."""
    monkeypatch.setattr(import_paths, "find_spec", lambda _: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(config: Config, **options: Any) -> Result:
    result = execute("predict", config, Options(**options))
    assert result is not None
    return result


def test_champion_answers_and_the_run_tells_what_it_did(
    config: Config, table: pd.DataFrame, tmp_path: Path, client: MlflowClient
) -> None:
    table.astype(str).assign(**{table.columns[0]: ["high", *["0.5"] * (len(table) - 1)]}).to_csv(
        tmp_path / "new.csv", index=False
    )

    result = predict(config, data=str(tmp_path / "new.csv"), output=str(tmp_path / "new.parquet"))

    champion = registry.champion(MODEL)
    assert champion is not None
    scores = pd.read_parquet(tmp_path / "new.parquet")
    assert result.status == 3
    assert scores["id"].tolist() == [str(row) for row in table["id"][1:]]
    assert set(scores["model_version"]) == {str(champion.version)}
    assert pd.read_csv(tmp_path / "new.rejected.csv")["row"].tolist() == [1]
    run = client.get_run(result.run_id)
    assert {name: run.data.metrics[name] for name in ("rows", "rows_scored", "rows_rejected")} == {
        "rows": len(table),
        "rows_scored": len(table) - 1,
        "rows_rejected": 1,
    }
    answers = pd.read_csv(f"{run.info.artifact_uri}/answers.csv")
    assert answers.groupby("answer")["rows"].sum().to_dict() == {
        answer: len(table) - 1 for answer in ("label", "probability")
    }
    assert {one.path for one in client.list_artifacts(result.run_id)} == {
        *("answers.csv", "answers.png")
    }
    assert 0 < run.data.metrics["psi_largest"] < 1
    assert run.data.tags["model_version"] == str(champion.version)
    assert "1 rows break its contract" in run.data.tags["mlflow.note.content"]
    assert [one.model_id for one in run.inputs.model_inputs] == [registry.logged_model_id(champion)]
    assert run.inputs.dataset_inputs[0].dataset.name == "new"


def test_version_that_is_named_answers_instead(
    config: Config, table: pd.DataFrame, tmp_path: Path
) -> None:
    output = tmp_path / "scores.csv"
    result = pipeline.run(
        config_path(config, tmp_path),
        verb="predict",
        data=table,
        output=str(output),
        model=f"models:/{MODEL}/1",
        keep="id",
    )

    assert result.status == 0
    scores = pd.read_csv(output)
    assert scores["id"].tolist() == table["id"].tolist()
    assert set(scores["model_version"]) == {1}


def test_rows_that_a_killed_process_has_scored_are_not_scored_again(
    config: Config, table: pd.DataFrame, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.to_csv("new.csv", index=False)
    options = {"data": "new.csv", "output": "scores.csv"}

    def killed(_: AnswerFile, batches: Iterable[Any]) -> None:
        list(batches)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(AnswerFile, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            predict(config, **options)
    assert {one.name for one in empty_folder.iterdir()} == {"new.csv", ".scores.csv.parts"}

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "answers", lambda *_: pytest.fail("scored again"))
        result = predict(config, **options)
    assert result.metrics["rows_scored"] == len(table)
    once = pd.read_csv("scores.csv")
    predict(config, **{**options, "force": True})
    pd.testing.assert_frame_equal(pd.read_csv("scores.csv"), once)


def config_path(config: Config, folder: Path) -> str:
    from pipeline.config.write import as_text

    path = folder / "config.yaml"
    path.write_text(as_text(config))
    return str(path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"data": "gone.csv", "output": "new.csv"}, "'gone.csv' does not exist"),
        ({"data": "new.csv", "output": "new.doc"}, "--output is 'new.doc'"),
        ({"data": "new.csv", "output": "empty.csv"}, "empty.csv exists; --force"),
        ({"data": "empty.csv", "output": "o.csv"}, "has no rows, only a header"),
        ({"data": "new.csv", "output": "o.csv", "model": "scored"}, "models:/NAME/VERSION"),
        ({"data": "new.csv", "output": "o.csv", "engine": "flink"}, "--engine is 'flink'"),
        ({"data": "new.csv", "output": "o.csv", "engine": "spark"}, "--engine is 'spark', but PyS"),
        ({"data": "new.csv", "output": "o.csv", "model": "models:/scored/9"}, "no version 9"),
        ({"data": "new.csv", "output": "o.csv", "model": "models:/scored@old"}, "alias 'old'"),
        ({"data": "new.csv", "output": "o.csv", "strict": True}, "row 1, .*: must be a number"),
        ({"data": "new.csv", "output": "./new.csv", "force": True}, "which is --data too"),
    ],
)
def test_mistake_is_named_and_no_file_is_written(
    config: Config, table: pd.DataFrame, empty_folder: Path, options: dict[str, Any], named: str
) -> None:
    table.astype(str).assign(**{table.columns[0]: "high"}).to_csv("new.csv", index=False)
    table.head(0).to_csv("empty.csv", index=False)

    with pytest.raises(PipelineError, match=named):
        predict(config, **options)

    assert sorted(path.name for path in empty_folder.iterdir()) == ["empty.csv", "new.csv"]
