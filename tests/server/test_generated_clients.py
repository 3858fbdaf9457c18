"""Clients that generators make of `/openapi.json`, and what a running server answers them."""

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.inference.predictor import Predictor, Trained
from pipeline.schema.columns import BooleanColumn, CategoryColumn, NumberColumn, OrdinalColumn
from pipeline.schema.contract import Contract
from pipeline.schema.kinds import KINDS, kind_of
from pipeline.server import openapi
from pipeline.server.app import scoring_application
from pipeline.server.loaded_model import LoadedModel
from tests.support import mixed, pima
from tests.support.guards import KEY, FakeModel, make_guard, make_keys
from tests.support.wire import call

pytestmark = pytest.mark.extra
NODE_MODULES = Path(".ci/node_modules")
UNREADABLE = ("text/csv", "application/vnd.apache.parquet")  # by openapi-python-client
ODD = {  # names that are no identifiers, and values that cannot be named after themselves
    "class": CategoryColumn(levels=("a b", "a-b", "A B"), unseen="refuse"),
    "2nd value (µ)": NumberColumn(range=(1, 2), missing=(0.5, "n/a")),
    "size": OrdinalColumn(levels=(1, "l", -1), missing="?"),
    "is_new": BooleanColumn(missing=-9, optional=True),
}
CONTRACTS = {
    "numbers": pima.CONTRACT,
    "each kind, two classes": mixed.make_mixed_dataset(2, with_texts=True).contract,
    "each kind, three classes": mixed.make_mixed_dataset(3).contract,
    "odd names": Contract(columns=ODD, target="y", classes=("Yes", "yes", "y/s"), positive=None),
    "truths": Contract(columns=ODD, target="y", classes=(False, True), positive=True),
    "one column": Contract(
        columns={"x": NumberColumn()}, target="y", classes=(3, 5, 8), positive=None
    ),
}


def make_predictor(contract: Contract) -> Predictor:
    classes, columns = len(contract.classes), contract.columns.values()
    threshold = None if contract.positive is None else 0.5
    predict = lambda X: np.full((len(X), classes), 1 / classes)  # noqa: E731
    usual = np.array([np.clip(1, *kind_of(column).bounds(column)) for column in columns])
    names = ("no", "yes") if contract.classes == (False, True) else ()
    trained = Trained(threshold, usual, np.abs(usual), class_names=names)
    return Predictor(contract, predict, trained, {"model": "visits", "version": "7"})


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes a Python client of a document, and returns its package."""
    generator = pytest.importorskip("openapi_python_client", reason="of .ci/requirements.txt")
    from openapi_python_client.config import Config, ConfigFile, MetaType

    def generate(document: dict[str, Any]) -> ModuleType:
        source = tmp_path / "openapi.json"
        source.write_text(json.dumps(document), "utf-8")
        settings = ConfigFile(post_hooks=[])
        folder = tmp_path / "generated_client"
        config = Config.from_sources(settings, MetaType.NONE, source, "utf-8", False, folder)
        warnings = [warning.detail for warning in generator.generate(config=config)]
        assert warnings == [f"Unsupported content type {media_type}" for media_type in UNREADABLE]
        monkeypatch.syspath_prepend(tmp_path)
        return importlib.import_module("generated_client")

    yield generate
    for name in [name for name in sys.modules if name.startswith("generated_client")]:
        del sys.modules[name]


def part(client: ModuleType, name: str) -> Any:
    return importlib.import_module(f"{client.__name__}.{name}")


def api(client: ModuleType, operation: str) -> Any:
    return part(client, f"api.default.{operation}")


def test_each_kind_of_column_is_among_the_cases():
    columns = CONTRACTS["each kind, two classes"].columns.values()
    assert {column.kind for column in columns} == set(KINDS)


@pytest.mark.parametrize("name", CONTRACTS)
def test_document_is_valid(name):
    validator = pytest.importorskip("openapi_spec_validator", reason="of .ci/requirements.txt")
    document = openapi.describe(described(make_predictor(CONTRACTS[name])))
    assert list(validator.OpenAPIV31SpecValidator(document).iter_errors()) == []


def described(predictor: Predictor) -> Any:
    version = SimpleNamespace(name="visits", version="7")
    return SimpleNamespace(version=version, predictor=predictor)


@pytest.mark.parametrize("name", CONTRACTS)
def test_generated_client_asks_in_each_form_and_reads_the_answers(name, generate):
    predictor = make_predictor(CONTRACTS[name])
    model = described(predictor)
    example, names = openapi.example_row(model), list(predictor.contract.columns)
    client = generate(openapi.describe(model))
    models, predict = part(client, "models"), api(client, "predict")
    names_of_classes = predictor.trained.class_names
    asked = {"labels": True} if names_of_classes else {}
    params = models.Params(version=True, explain=True, **asked)
    rows = [models.Row.from_dict(example)]
    columns = models.Columns.from_dict({name: [cell] for name, cell in example.items()})
    split = models.Split.from_dict({"columns": names, "data": [list(example.values())]})
    bodies = [
        models.RecordsRequest(rows, params=params),
        models.SplitRequest(split, params=params),
        *(models.InputsRequest(table, params=params) for table in (rows, columns, rows[0])),
        models.InstancesRequest(rows, params=params),
    ]
    ragged = models.Split.from_dict({"columns": names, "data": [[]]})

    def ask(address: str) -> list[Any]:
        with client.Client(base_url=address) as asking:
            wrong = predict.sync_detailed(client=asking, body=models.SplitRequest(ragged))
            answers = [predict.sync(client=asking, body=body) for body in bodies]
            plain = predict.sync(client=asking, body=models.RecordsRequest(rows))
        return [answers, plain, wrong]

    answers, plain, wrong = call(make_guard(FakeModel(predictor)), ask)

    assert {type(answer) for answer in answers} == {models.Answer}
    assert len({json.dumps(answer.to_dict()) for answer in answers}) == 1
    assert (answers[0].model, answers[0].version) == ("visits", "7")
    (prediction,) = answers[0].predictions
    assert not names_of_classes or prediction.label_name.value in names_of_classes
    assert prediction.label in predictor.contract.classes
    probability = 1 / len(predictor.contract.classes)
    assert prediction.probability == probability
    assert prediction.base == pytest.approx(np.log(probability / (1 - probability)))
    assert prediction.contributions.to_dict() == dict.fromkeys(names, pytest.approx(0))
    assert plain.to_dict().keys() == {"predictions"}
    assert not plain.predictions[0].additional_properties
    assert (wrong.status_code, wrong.parsed.error_code) == (400, "INVALID_PARAMETER_VALUE")


def test_generated_client_reads_the_pages_and_sends_its_key(pima: LoadedModel, generate):
    client = generate(openapi.describe(pima))

    def ask(address: str) -> list[Any]:
        pages = ("ping", "health", "mlflow_version", "metrics", "docs", "openapi", "model")
        with (
            client.Client(base_url=address) as outside,
            client.AuthenticatedClient(base_url=address, token=KEY) as asking,
        ):
            refused = api(client, "model").sync(client=outside)
            return [refused, *(api(client, page).sync_detailed(client=asking) for page in pages)]

    application = scoring_application(pima, docs=True)
    guard = make_guard(pima, keys=make_keys(ann=KEY), application=application)
    refused, *pages = call(guard, ask)

    assert refused.error_code == "UNAUTHENTICATED"
    assert {page.status_code for page in pages} == {200}
    model = pages[-1].parsed
    assert (model.name, model.version, model.threshold) == ("visits", "7", 0.4)
    assert model.metrics["cv/log_loss"] == 0.5


TYPESCRIPT = """\
import type { components, operations } from "./openapi";

type Schemas = components["schemas"];
const row: Schemas["Row"] = EXAMPLE;
const request: Schemas["Request"] = { dataframe_records: [row], params: { version: true } };
// @ts-expect-error  a column of that name is none of the model's
const misspelt: Schemas["Row"] = { ...row, Glucoze: 1 };
// @ts-expect-error  a text is no number
const text: Schemas["Row"] = { ...row, Glucose: "high" };
type Answer = operations["predict"]["responses"][200]["content"]["application/json"];

async function main(): Promise<void> {
  const post = { method: "POST", headers: { "Content-Type": "application/json" } };
  const ask = (body: unknown) =>
    fetch(`${process.argv[2]}/invocations`, { ...post, body: JSON.stringify(body) });
  const answer = (await (await ask(request)).json()) as Answer;
  const label: 0 | 1 = answer.predictions[0].label;
  const refusal = (await (await ask({ inputs: [misspelt] })).json()) as Schemas["Error"];
  const { probability, contributions } = answer.predictions[0];
  const explained: number | undefined = contributions?.Glucose;
  console.log(JSON.stringify([label, probability, answer.version, refusal.message, explained]));
}
void main();
declare const process: { argv: string[] };
"""


@pytest.mark.skipif(
    shutil.which("node") is None or not NODE_MODULES.exists(),
    reason="needs Node and `npm ci --prefix .ci`",
)
def test_typescript_client_is_typed_and_answered(tmp_path):
    model = FakeModel()
    document = openapi.describe(described(model.reader.predictor))
    (tmp_path / "openapi.json").write_text(json.dumps(document), "utf-8")
    client = TYPESCRIPT.replace("EXAMPLE", json.dumps(pima.PATIENT))
    (tmp_path / "client.ts").write_text(client, "utf-8")
    programs = NODE_MODULES.resolve() / ".bin"

    def run(*command: Any) -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(programs / "openapi-typescript", "openapi.json", "-o", "openapi.d.ts")
    options = ("--strict", "--target", "es2022", "--module", "commonjs", "--skipLibCheck")
    run(programs / "tsc", *options, "client.ts")
    printed = call(make_guard(model), lambda address: run("node", "client.js", address))
    label, probability, version, message, explained = json.loads(printed)
    assert (label, probability, version, explained) == (0, 0.25, "7", None)
    assert "column number 9" in message
