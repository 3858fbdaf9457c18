from dataclasses import replace

import pytest

from pipeline.errors import ConfigError
from pipeline.models import families
from pipeline.tuning.size_limits import describe, describe_fit, fitting_families
from tests.support.builders import make_config, make_dataset

FAMILIES = ("logistic_regression", "svc")


@pytest.fixture(autouse=True)
def svc_of_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(families.BUILT_IN["svc"], most_rows=150)
    monkeypatch.setitem(families.BUILT_IN, "svc", few)


def config_of(search: int | None, final: int | None, names=FAMILIES):
    return make_config(tune={"families": names, "max_rows": search}, train={"max_rows": final})


@pytest.mark.parametrize(
    ("rows", "search", "final", "fitting"),
    [
        (150, None, None, FAMILIES),
        (151, None, None, FAMILIES[:1]),
        (1000, 120, None, FAMILIES[:1]),
        (1000, 200, 120, FAMILIES[:1]),
        (1000, 120, 150, FAMILIES),
    ],
)
def test_family_is_left_out_where_the_search_or_the_final_fit_has_too_many_rows(
    rows, search, final, fitting
):
    assert fitting_families(config_of(search, final), rows) == fitting


def test_search_without_a_family_that_fits_is_refused_with_the_remedy():
    with pytest.raises(ConfigError, match=r"\[svc\].*150 rows.*280: set both tune.max_rows and"):
        fitting_families(config_of(200, None, ("svc",)), 280)


def test_what_is_sampled_and_left_out_is_said():
    dataset = make_dataset(rows=400)
    text = describe(config_of(200, None), dataset)
    assert "sees 200 of 280 training rows" in text
    assert "fitted on 280 rows: svc (at most 150 rows)" in text
    text = describe_fit(config_of(100, 200), dataset)
    assert "chosen by 100 " in text
    assert "fitted on 200 " in text


def test_nothing_is_said_of_few_rows():
    dataset, config = make_dataset(rows=200), config_of(150, 150)
    assert describe(config, dataset) == describe_fit(config, dataset) == ""
