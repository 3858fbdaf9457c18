"""`init`, from a file to a config that runs."""

import numpy as np
import pandas as pd
import pytest

from pipeline.cli import main
from pipeline.config.load import load
from pipeline.datasets.dataset import build_dataset
from pipeline.datasets.sources import open_source


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = 120
    table = pd.DataFrame(
        {
            "": range(rows),
            "customer id": [f"c{n}" for n in range(rows)],
            "city": rng.choice(["Rome", "NA", "yes", "a: b"], rows),
            "since": pd.date_range("2024-01-01", periods=rows).strftime("%d.%m.%Y"),
            "age": rng.integers(18, 90, rows).astype(str),
            "plan": "basic",
            "code": rng.choice(["01", "1", "02"], rows),
            "churned": rng.choice(["yes", "no"], rows),
        }
    )
    table.loc[3, "age"] = "?"
    table.to_csv(tmp_path / "Churn 2024.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_config_that_is_written_is_read_and_fits_the_table(folder, caplog):
    caplog.set_level("INFO", "pipeline")
    assert main(["init", "Churn 2024.csv", "--target", "churned"]) == 0

    config = load("configs/churn-2024.yaml", {})
    source = open_source(config.data)
    dataset = build_dataset(config, source.read(), source.digest())
    kinds = {name: column.kind for name, column in dataset.contract.columns.items()}
    assert kinds == {"city": "category", "since": "date", "age": "integer", "code": "category"}
    assert list(config.data.drop) == ["", "customer id", "plan"]
    assert dataset.contract.columns["code"].levels == ("01", "02", "1")
    assert dataset.contract.columns["city"].levels == ("NA", "Rome", "a: b", "yes")
    assert (dataset.contract.positive, config.registry.model) == ("yes", "churn-2024")
    assert np.isnan(dataset.X.loc[3, "age"])
    assert "age: '?' taken for missing" in caplog.text
    assert caplog.messages[-1].endswith("python -m pipeline run configs/churn-2024.yaml")


def test_config_of_data_alone_is_as_the_one_that_init_writes(folder):
    main(["init", "Churn 2024.csv", "--target", "churned"])
    written = load("configs/churn-2024.yaml", {})
    (folder / "short.yaml").write_text("data: {source: Churn 2024.csv, target: churned}\n")
    short = load("short.yaml", {})

    source = open_source(short.data)
    datasets = [build_dataset(one, source.read(), source.digest()) for one in (written, short)]

    assert datasets[0].contract == datasets[1].contract
    assert datasets[0].split_digest == datasets[1].split_digest
    assert short.registry.model == "churn-2024"
    assert datasets[1].data.drop == written.data.drop


def test_columns_that_are_not_listed_are_inferred_beside_those_that_are_if_asked_for(folder):
    text = (
        "{source: Churn 2024.csv, target: churned, unlisted: infer, columns: {age: {missing: '?'}}}"
    )
    (folder / "some.yaml").write_text(f"data: {text}\n")
    config = load("some.yaml", {})
    source = open_source(config.data)

    dataset = build_dataset(config, source.read(), source.digest())

    kinds = {name: column.kind for name, column in dataset.contract.columns.items()}
    assert kinds == {"city": "category", "since": "date", "age": "number", "code": "category"}


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y"])
def test_split_by_group_and_time_is_proposed_with_why(folder, caplog, form):
    caplog.set_level("INFO", "pipeline")
    table = pd.read_csv("Churn 2024.csv", dtype=str, keep_default_na=False)
    table["since"] = pd.date_range("2024-01-01", periods=len(table)).strftime(form)
    table["customer id"] = [f"c{n % 50}" for n in range(len(table))]
    table.to_csv("visits.csv", index=False)

    assert main(["init", "visits.csv", "--target", "churned"]) == 0

    text = (folder / "configs/visits.yaml").read_text()
    assert "  # group: customer id  # 50 different values in 120 rows" in text
    assert "  # time: since  # dates each row" in text
    assert "split.group may be 'customer id'" in caplog.text
    uncommented = text.replace("# group:", "group:").replace("# time:", "time:")
    (folder / "configs/visits.yaml").write_text(uncommented)
    config = load("configs/visits.yaml", {})
    assert (config.split.group, config.split.time) == ("customer id", "since")
    dataset = build_dataset(config, open_source(config.data).read(), "0" * 64)
    assert dataset.metadata.names == {"groups": "customer id", "times": "since"}


def test_without_a_target_the_columns_that_could_be_one_are_named(folder, capsys):
    assert main(["init", "Churn 2024.csv"]) == 2

    error = capsys.readouterr().err
    assert "--target one of\n  churned (no, yes)\n  code (01, 02, 1)" in error
    assert "customer" not in error
    assert not (folder / "configs").exists()


@pytest.mark.parametrize(
    ("gaps", "written", "missing"),
    [(["", ""], "[]", 2), (["NA", "", "?"], '["?", NA]', 3)],
)
def test_rows_without_a_target_are_left_out_and_said_to_be(folder, caplog, gaps, written, missing):
    caplog.set_level("INFO", "pipeline")
    table = pd.read_csv("Churn 2024.csv", dtype=str, keep_default_na=False)
    table["spent"] = np.random.default_rng(1).normal(50, 9, len(table)).round(2).astype(str)
    table.loc[range(5, 5 + len(gaps)), "spent"] = gaps
    table.to_csv("spent.csv", index=False)

    assert main(["init", "spent.csv"]) == 2
    assert main(["init", "spent.csv", "--target", "spent"]) == 0

    without = f"{missing} rows have no target and are left out"
    assert (
        f"  target_missing: {written}  # {without}" in (folder / "configs/spent.yaml").read_text()
    )
    assert f"spent: {without}" in caplog.text
    config = load("configs/spent.yaml", {})
    dataset = build_dataset(config, open_source(config.data).read(), "0" * 64)
    assert len(dataset.y) == len(table) - missing


def test_column_with_gaps_is_named_among_the_possible_targets(folder, capsys):
    table = pd.DataFrame({"a": ["x", "y", ""] * 20, "b": [*map(str, range(58)), "NA", ""]})
    table.to_csv("gaps.csv", index=False)

    assert main(["init", "gaps.csv"]) == 2

    error = capsys.readouterr().err
    assert "--target one of\n  b (an amount; 2 missing)\n  a (x, y; 20 missing)" in error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "init needs --data SOURCE"),
        (["no.csv", "--target", "churned"], "'no.csv' does not exist"),
        (["Churn 2024.csv", "--target", "churn"], "did you mean 'churned'?"),
        (["Churn 2024.csv", "--tagret", "churned"], "did you mean '--target'?"),
        (["Churn 2024.csv", "--target", "churned", "--output", "there.yaml"], "there.yaml exists"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(folder, capsys, words, sentence):
    (folder / "there.yaml").write_text("mine")

    assert main(["init", *words]) == 2

    assert sentence in capsys.readouterr().err
    assert (folder / "there.yaml").read_text() == "mine"
    assert not (folder / "configs").exists()


def test_config_that_is_there_is_written_over_by_force_alone(folder):
    words = ["init", "--data", "Churn 2024.csv", "--target", "churned", "--output", "mine.yaml"]
    (folder / "mine.yaml").write_text("mine")

    assert main(words) == 2
    assert main([*words, "--force"]) == 0

    assert load("mine.yaml", {}).data.target == "churned"
