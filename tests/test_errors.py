import pytest

from pipeline import errors
from pipeline.errors import LONGEST_NAME, ContractError, PipelineError, nearest

MISTAKES = [
    *("ConfigError", "SourceError", "ContractError", "SearchError", "RegistryError"),
    *("ModelError", "StoreError"),
]


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_caught_as_pipeline_error(name):
    mistake = getattr(errors, name)
    assert issubclass(mistake, PipelineError)
    assert str(mistake("tune.folds is 1")) == "tune.folds is 1"


def test_pipeline_error_is_no_kind_of_builtin_error():
    """Else `except ValueError` somewhere would swallow a message for the user."""
    assert PipelineError.__bases__ == (Exception,)


def test_module_page_shows_the_whole_tree():
    subclasses = {mistake.__name__ for mistake in PipelineError.__subclasses__()}
    assert subclasses == set(MISTAKES)
    assert all(name in errors.__doc__ for name in subclasses)


def test_contract_error_carries_the_kind_of_its_rule():
    assert ContractError("row 1, Age: must be a number", "type").rule == "type"
    assert ContractError("the table has no rows").rule == "rows"


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        ("Glucos", ["Age", "Glucose"], ", did you mean 'Glucose'?"),
        ("glucose", ["Glucose"], ", did you mean 'Glucose'?"),
        ("GLUCOSE", ["Glucose"], ", did you mean 'Glucose'?"),
        ("max_eval", ["max_evals", "max_depth"], ", did you mean 'max_evals'?"),
        ("zzz", ["Age", "Glucose"], ""),
        ("Age", [], ""),
        ("", ["Age"], ""),
    ],
)
def test_nearest_names_the_closest_or_nothing(name, names, hint):
    assert nearest(name, names) == hint


def test_nearest_compares_no_name_too_long_for_a_slip_of_the_pen():
    """It takes time that grows with the square of the length, and a request may name a column."""
    longest, longer = "a" * LONGEST_NAME, "a" * (LONGEST_NAME + 1)
    assert nearest(longest, [longest]) == f", did you mean {longest!r}?"
    assert nearest(longer, [longest]) == ""
    assert nearest(longest, [longer]) == ""
