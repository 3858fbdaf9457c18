import json
import pickle
import shutil
import sys

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import FixedThresholdClassifier

from pipeline.errors import ModelError
from pipeline.export.onnx_graph import translate
from pipeline.inference import mlflow_flavor, model_folder
from pipeline.inference.predictor import Params, Trained
from pipeline.inference.runtimes import Linear
from pipeline.models import families as models
from tests.support.builders import make_dataset

PARAMS = Params()


@pytest.fixture(scope="module")
def rows():
    return make_dataset().X_test.to_numpy()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """As MLflow writes it, with a graph; and the model in it."""
    dataset = make_dataset()
    model = FixedThresholdClassifier(
        models.build("logistic_regression", {}, 0),
        threshold=0.4,
        pos_label=1,
        response_method="predict_proba",
    ).fit(dataset.X_train, dataset.y_train)
    folder = tmp_path_factory.mktemp("saved") / "model"
    mlflow_flavor.save_model(
        str(folder),
        mlflow.models.Model(),
        model,
        dataset.contract,
        Trained.on(
            dataset.contract, dataset.X_train.to_numpy(), 0.4, class_names=("healthy", "ill")
        ),
        graph=translate(model, 4).SerializeToString(),
        pip_requirements=["scikit-learn"],
    )
    return folder, model


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to be changed."""
    return shutil.copytree(saved[0], tmp_path / "model")


def change(folder, **changes):
    path = folder / model_folder.SERVED
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("with_graph", [True, False])
def test_loaded_predictor_answers_as_the_model_does(folder, saved, rows, with_graph):
    if not with_graph:
        (folder / model_folder.GRAPH).unlink()
    frame = pd.DataFrame(rows, columns=["height", "gap", "noise", "flag"])

    loaded = model_folder.load(folder, {"model": "visits", "version": "7"})

    answers = loaded.answers(loaded.rules.apply(rows), Params(version=True, labels=True))
    assert set(answers["label_name"]) == {"healthy", "ill"}
    expected = saved[1].predict_proba(frame)[:, 1]
    np.testing.assert_allclose(answers["probability"], expected, rtol=0, atol=1e-12)
    assert answers["label"] == saved[1].predict(frame).tolist()
    assert (answers["model"][0], answers["version"][0]) == ("visits", "7")
    assert loaded.is_compiled is with_graph


@pytest.mark.parametrize("unpickle", [True, False])
@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(b"no pickle"), lambda p: p.unlink()])
def test_where_there_is_a_graph_the_pickle_is_not_read(folder, rows, unpickle, damage):
    damage(folder / model_folder.PICKLE)

    loaded = model_folder.load(folder, unpickle=unpickle)

    assert len(loaded.answers(rows, PARAMS)["label"]) == len(rows)


def test_without_a_graph_and_unpickling_there_is_a_contract_but_no_answer(folder, rows):
    (folder / model_folder.GRAPH).unlink()
    (folder / model_folder.PICKLE).write_bytes(b"no pickle")

    loaded = model_folder.load(folder, unpickle=False)

    assert list(loaded.contract.columns) == ["height", "gap", "noise", "flag"]
    assert loaded.params({"threshold": 0.3}) == Params(threshold=0.3)
    assert not loaded.is_compiled
    with pytest.raises(RuntimeError, match="the model was not unpickled"):
        loaded.answers(rows, PARAMS)


MODULE = """
from sklearn.linear_model import LogisticRegression


class Custom(LogisticRegression):
    pass
"""


def test_pickle_finds_the_users_modules_and_the_projects_own_first(folder, monkeypatch):
    """A model brings its code; one that brings `pipeline` too must not put it in place of this."""
    code = folder / "code"
    code.mkdir()
    (code / "of_the_user.py").write_text(MODULE)
    monkeypatch.syspath_prepend(code)
    from of_the_user import Custom

    (folder / model_folder.GRAPH).unlink()
    dataset = make_dataset()
    custom = models.build("raw_logistic_regression", {}, 0).set_params(logisticregression=Custom())
    custom.fit(dataset.X_train, dataset.y_train)
    (folder / model_folder.PICKLE).write_bytes(pickle.dumps(custom))
    sys.path.remove(str(code))
    del sys.modules["of_the_user"]

    loaded = model_folder.load(folder)

    expected = custom.predict_proba(dataset.X_test)
    np.testing.assert_array_equal(loaded.predict(dataset.X_test.to_numpy()), expected)
    assert sys.path[-1] == str(code)


@pytest.mark.parametrize(
    ("name", "other", "sentence"),
    [
        ("Python", "3.10", "the model was trained with Python 3.10, and this is Python "),
        ("scikit-learn", "1.0", "the model was trained with scikit-learn 1.0, and this is scikit-"),
        ("numpy", None, "the model was trained with numpy None, and this is numpy "),
        ("all", "1", "the model was trained with Python 1, scikit-learn 1, numpy 1, and this is P"),
    ],
)
def test_model_trained_with_other_versions_is_refused(folder, name, other, sentence):
    here = json.loads((folder / model_folder.SERVED).read_text())["trained_with"]
    versions = {key: other if name in (key, "all") else value for key, value in here.items()}
    change(folder, trained_with=versions)
    (folder / model_folder.PICKLE).write_bytes(b"no pickle")  # nothing is read of it

    with pytest.raises(ModelError) as error:
        model_folder.load(folder)

    assert str(error.value).startswith(sentence)
    assert str(error.value).endswith(
        "; serve it from the environment of its requirements.txt, or train it again"
    )


def test_another_patch_of_python_is_the_same(folder, monkeypatch):
    major, minor, patch = model_folder.platform.python_version_tuple()
    monkeypatch.setattr(
        model_folder.platform, "python_version_tuple", lambda: (major, minor, f"{patch}9")
    )

    assert model_folder.load(folder).is_compiled


# Formats.


def test_folder_is_read_as_it_was_written(folder):
    dataset = make_dataset()
    trained = Trained.on(dataset.contract, dataset.X_train.to_numpy(), 0.4)
    linear = Linear([0.0] * 4, [1.0] * 4, 0.5)

    model_folder.write(folder, dataset.contract, trained, linear, None)
    loaded = model_folder.load(folder)

    assert loaded.contract == dataset.contract
    for one, other in zip(loaded.trained, trained, strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.predict.__self__ == linear
    assert loaded.is_compiled


def test_folder_of_a_version_without_format_numbers_is_read(folder, rows):
    """Such a one may lack the magnitude and the collapsed model: no number is then usual."""
    path = folder / model_folder.SERVED
    served = json.loads(path.read_text())
    old = {name: served[name] for name in ("threshold", "reference", "trained_with")}
    expected = model_folder.load(folder).answers(rows, PARAMS)
    path.write_text(json.dumps(old))

    loaded = model_folder.load(folder)

    assert loaded.answers(rows, PARAMS) == expected
    assert loaded.trained.magnitude.tolist() == [0.0] * 4


def test_folder_of_a_later_format_is_refused_with_the_remedy(folder):
    change(folder, format=model_folder.FORMAT + 1)

    with pytest.raises(ModelError, match=r"has the format 2, .* reads up to 1; serve it with"):
        model_folder.load(folder)


def test_example_is_written_with_its_answer_and_with_null_for_a_gap(folder):
    dataset = make_dataset()
    loaded = model_folder.load(folder)
    frame = dataset.X_test[dataset.X_test["gap"].isna()].head(2)

    model_folder.write_example(folder, loaded, frame)

    request = json.loads((folder / model_folder.EXAMPLE).read_text())
    answer = json.loads((folder / model_folder.EXAMPLE_ANSWER).read_text())
    assert [row["gap"] for row in request["dataframe_records"]] == [None, None]
    expected = loaded.answers(frame.to_numpy(), PARAMS)
    assert [row["probability"] for row in answer["predictions"]] == expected["probability"]
