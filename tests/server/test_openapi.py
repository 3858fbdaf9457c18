"""Whether the door does what `/openapi.json` says, asked by requests that are made of it."""

import copy
from typing import Any

import pytest

from pipeline.config.serve import Serve
from pipeline.server import openapi
from pipeline.server.api_keys import ApiKeys
from pipeline.server.app import scoring_application
from pipeline.server.guard import Guard
from pipeline.server.loaded_model import LoadedModel

schemathesis = pytest.importorskip("schemathesis", reason="of .ci/requirements.txt")
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402  comes with schemathesis
from schemathesis.checks import positive_data_acceptance  # noqa: E402

FEW = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
JSON = "application/json"
pytestmark = pytest.mark.extra
MODE = schemathesis.GenerationMode


def described(model: LoadedModel, form: str = "") -> Any:
    """The operation of the JSON body, of that form if one is named, asked of the door."""
    document = copy.deepcopy(openapi.describe(model))
    content = document["paths"]["/invocations"]["post"]["requestBody"]["content"]
    for kind in [kind for kind in content if kind != JSON]:
        del content[kind]
    if form:
        document["components"]["schemas"]["Request"] = {"$ref": f"#/components/schemas/{form}"}
    schema = schemathesis.openapi.from_dict(document)
    serve = Serve(allowed_hosts=("*",))
    schema.app = Guard(serve, ApiKeys({}), model, scoring_application(model, docs=True))
    return schema["/invocations"]["POST"]


def ask(operation: Any, mode: Any, *excluded: Any) -> None:
    """Makes requests of the description, or of what breaks it, and holds the answers against it."""
    answers = []

    @FEW
    @given(case=operation.as_strategy(generation_mode=mode))
    def each(case: Any) -> None:
        answers.append(case.call_and_validate(excluded_checks=list(excluded)).status_code)

    each()
    assert len(answers) >= FEW.max_examples / 2


def test_records_as_they_are_described_are_answered(pima: LoadedModel) -> None:
    """Each column has a range: without one, a number may be too large for a finite answer."""
    ask(described(pima, "RecordsRequest"), MODE.POSITIVE)


def test_answers_and_refusals_are_as_described_whatever_the_form(model: LoadedModel) -> None:
    """Lists of one length, and the range of a cell by the name at its place, cannot be said."""
    ask(described(model), MODE.POSITIVE, positive_data_acceptance)


def test_what_breaks_the_description_is_refused(model: LoadedModel) -> None:
    ask(described(model), MODE.NEGATIVE)
