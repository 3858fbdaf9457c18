"""Which earlier run a step is compared with, to say why it runs again."""

import pytest

from pipeline.tracking import earlier_runs


def params(digest="d", target="y", **columns):
    ranges = {f"data.columns.{name}.range": text for name, text in columns.items()}
    return {"data digest": digest, "data.target": target, **ranges}


NOW = params(a="0-1", b="0-9", c="null")


@pytest.mark.parametrize(
    ("before", "is_same"),
    [
        (NOW, True),
        (params("other rows", a="0-1", b="0-9", c="null"), True),
        (params("other rows", a="0-1", b="0-5", d="null", c="0-9"), True),
        (params(x="0-1"), True),  # of the same file
        (params("another", target="z", a="0-1", b="0-9", c="null"), False),
        (params("another", x="0-1", z="0-9"), False),
        (params("another", a="0-1", x="0-1", z="0-9"), False),
        ({}, False),
    ],
)
def test_a_run_is_of_the_same_table_by_its_target_and_by_its_rows_or_most_columns(before, is_same):
    assert earlier_runs._is_same_table(before, NOW) is is_same


def test_settings_that_differ_are_named_with_both_values():
    before, now = {"tune.seed": "0", "old": "1"}, {"tune.seed": "1", "new": "2"}
    assert earlier_runs._changes(before, now) == [
        "tune.seed 0 -> 1",
        "new (unset) -> 2",
        "old 1 -> (unset)",
    ]
