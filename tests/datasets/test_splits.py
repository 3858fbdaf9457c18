"""Parts of rows by group and by time, and what is refused."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.sections import Split
from pipeline.datasets.dataset import build_dataset
from pipeline.datasets.splits import group_folds
from pipeline.errors import ContractError
from pipeline.results import Dataset
from pipeline.schema.columns import DateColumn
from tests.support.builders import COLUMNS, make_config, make_table

ROWS = 240
ORDER = np.random.default_rng(0).permutation(ROWS) // 4  # sixty days, four rows each
DAYS = pd.Timestamp("2024-01-01") + pd.to_timedelta(ORDER, unit="D")


def split(settings: dict[str, Any], **columns: Any) -> Dataset:
    """`make_table` with further columns, split."""
    config = make_config(split=settings)
    drop = dict.fromkeys(columns, "of the split alone")
    data = config.data.model_copy(update={"drop": drop})
    table = make_table(rows=ROWS).assign(**columns)
    return build_dataset(config.model_copy(update={"data": data}), table, digest="0" * 64)


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("size", [0.1, 0.3, 0.75])
def test_rows_of_a_group_are_in_one_part_of_the_size_asked_for(size, stratify):
    patients = np.arange(ROWS) // 2 % 40
    settings = {"group": "patient", "test_size": size, "stratify": stratify}

    dataset = split(settings, patient=[f"p{number}" for number in patients])

    assert not set(patients[dataset.X_train.index]) & set(patients[dataset.X_test.index])
    assert len(dataset.X_train) + len(dataset.X_test) == ROWS
    assert len(dataset.X_test) / ROWS == pytest.approx(size, abs=0.05)
    assert dataset.y_test.mean() == pytest.approx(0.5, abs=0.05)
    assert dataset.rows_note == "rows of one 'patient' stay together"
    assert list(dataset.X) == list(COLUMNS)


def weighed(cells: Any) -> Dataset:
    config = make_config()
    data = config.data.model_copy(update={"weight": "count"})
    table = make_table(rows=ROWS).assign(count=cells)
    return build_dataset(config.model_copy(update={"data": data}), table, digest="0" * 64)


@pytest.mark.parametrize("convert", [lambda n: n, str, float])
def test_weights_are_read_beside_the_features(convert):
    dataset = weighed([convert(number % 5) for number in range(ROWS)])
    assert list(dataset.X) == list(COLUMNS)
    assert dataset.metadata.of(dataset.X_test).sample_weight.tolist() == [
        number % 5 for number in dataset.X_test.index
    ]
    assert dataset.rows_note == "rows count by 'count', in fits and in metrics"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (np.where(np.arange(ROWS) == 4, -1, 1), "row 5: data.weight 'count' must hold numbers"),
        (np.where(np.arange(ROWS) == 4, "much", "1"), "(got 'much'; 1 rows hold such); mend the"),
        (np.where(np.arange(ROWS) == 4, np.inf, 1), "must hold numbers from 0 on (got 'inf'; 1"),
        (np.where(np.arange(ROWS) == 4, np.nan, 1), "row 5, count: data.weight needs a value in"),
        (0, "data.weight 'count' is 0 in every row: no row counts; name a column of numbers above"),
        (np.arange(ROWS) % 2, "label: the class 0 has 0 rows in the training part, and 6 are"),
    ],
)
def test_weights_that_cannot_count_are_refused(cells, message):
    with pytest.raises(ContractError) as refused:
        weighed(cells)
    assert message in str(refused.value)


def test_many_groups_are_parted_by_chance_with_the_classes_even():
    patients = np.arange(3000) // 4
    y = pd.Series(np.random.default_rng(0).integers(0, 2, 3000))
    folds = group_folds(y, pd.Series(patients), 5, seed=0)
    for train, test in folds:
        assert not set(patients[train]) & set(patients[test])
        assert len(test) == 600
        assert y[test].mean() == pytest.approx(0.5, abs=0.06)


def test_group_may_be_a_feature_and_its_seed_counts():
    first, again, other = (
        split({"group": "flag", "seed": seed}, day=0).X_test["flag"].unique() for seed in (0, 0, 5)
    )
    assert first == again
    assert len(other) == 1


@pytest.mark.parametrize(
    "times",
    [
        ORDER,
        ORDER / 7 - 3,
        DAYS,
        DAYS.tz_localize("Europe/Berlin"),
        [day.date() for day in DAYS],
        [day.date().isoformat() for day in DAYS],
        [f"{day.date()}T12:00:00+02:00" for day in DAYS],
        [f"{day:%d.%m.%Y}" for day in DAYS],
        [f"{day:%b %d, %Y}" for day in DAYS],
        [str(10_000 + number) for number in ORDER],
    ],
    ids=[
        *("integers", "doubles", "datetimes", "zone", "dates", "texts", "with offsets"),
        *("days first", "months by name", "digits"),
    ],
)
def test_test_part_holds_the_latest_rows_and_all_of_one_time(times):
    dataset = split({"time": "day"}, day=times)

    assert set(ORDER[dataset.X_test.index]) == set(range(42, 60))
    assert set(ORDER[dataset.X_train.index]) == set(range(42))
    first = pd.Series(times)[dataset.X_test.index].min()
    assert dataset.rows_note == (
        f"trained on the past and tested on the future: the test part begins at {first} of 'day'"
    )


def test_border_lies_between_two_times_however_unlike_the_parts_are():
    day = np.r_[np.zeros(200), np.ones(40)]
    dataset = split({"time": "day", "test_size": 0.5}, day=day)
    assert dataset.X_test.index.tolist() == list(range(200, 240))


def test_with_group_and_time_earlier_rows_of_the_groups_tested_are_in_neither_part():
    patients = np.r_[np.arange(120), np.arange(100, 120), np.arange(200, 300)]
    dataset = split({"group": "patient", "time": "day"}, patient=patients, day=np.arange(ROWS))

    assert dataset.X_test.index.tolist() == list(range(168, 240))
    assert not set(patients[dataset.X_train.index]) & set(patients[dataset.X_test.index])
    assert len(dataset.X) == ROWS

    patients[:10] = patients[-10:]
    dataset = split({"group": "patient", "time": "day"}, patient=patients, day=np.arange(ROWS))

    assert dataset.X_train.index.tolist() == list(range(10, 168))
    assert len(dataset.X) == len(dataset.y) == ROWS - 10
    assert dataset.rows_note.endswith(
        "10 earlier rows are in neither part, as their 'patient' is in the test part too"
    )


def test_split_digest_depends_on_the_columns_of_the_split():
    columns = {"patient": np.arange(ROWS) // 2, "day": np.arange(ROWS), "hour": np.arange(ROWS)}
    settings: list[dict[str, Any]] = [
        {},
        {"group": "patient"},
        {"time": "day"},
        {"time": "hour"},
        {"time": "day", "group": "patient"},
    ]
    assert len({split(each, **columns).split_digest for each in settings}) == len(settings)


BLANK = np.where(np.arange(ROWS) == 4, " ", "p1")
GAP = np.where(np.arange(ROWS) == 4, None, "2024-01-01")
WRONG = np.where(np.arange(ROWS) == 4, "31.01.2024", "2024-01-01")


@pytest.mark.parametrize(
    ("settings", "columns", "parts"),
    [
        (
            {"group": "patiens"},
            {"patient": 1},
            ["split.group is 'patiens', which is no column of", ", did you mean 'patient'?"],
        ),
        ({"time": "label"}, {}, ["split.time is 'label', which is the target; name another"]),
        (
            {"group": "patient"},
            {"patient": GAP},
            ["row 5, patient: split.group needs a value in every row (1 rows have none); fill"],
        ),
        ({"group": "patient"}, {"patient": BLANK}, ["row 5, patient: split.group needs a value"]),
        ({"time": "day"}, {"day": GAP}, ["row 5, day: split.time needs a value in every row"]),
        (
            {"time": "day"},
            {"day": WRONG},
            ["row 5: split.time 'day' must hold dates as 2024-01-31", "(got '31.01.2024'; 1 rows"],
        ),
        (
            {"time": "day"},
            {"day": [f"0{1 + number % 9}/02/2024" for number in ORDER]},
            ["such as '0", "which may be %d/%m/%Y or %m/%d/%Y; say which as its format below"],
        ),
        ({"time": "day"}, {"day": ORDER > 9}, ["split.time 'day' holds true and false; it must"]),
        (
            {"time": "day"},
            {"day": np.where(ORDER > 9, np.inf, 1)},
            ["split.time 'day' must hold finite numbers (got inf)"],
        ),
        ({"group": "patient"}, {"patient": 1}, ["split.group is 'patient', which holds one value"]),
        ({"time": "day"}, {"day": 1}, ["split.time is 'day', which holds 1 distinct values; "]),
        (
            {"time": "day"},
            {"day": np.arange(ROWS) % 2},
            ["label: the class 1 has 0 rows in the", "or lower split.test_size: the latest rows"],
        ),
    ],
)
def test_split_that_cannot_be_made_is_refused_with_setting_value_and_remedy(
    settings, columns, parts
):
    with pytest.raises(ContractError) as refused:
        split(settings, **columns)
    assert all(part in str(refused.value) for part in parts)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%d/%m/%Y", "%d/%m/%Y"),  # where the month comes first would fit too
        ("%d.%m.%Y %H:%M %z", "%d.%m.%Y 23:30 -0200"),
        ("%Y%m%d", "%Y%m%d"),
    ],
)
def test_time_that_is_a_feature_is_read_by_its_format(form, text):
    table = make_table(rows=ROWS).assign(day=DAYS.strftime(text))
    config = make_config(split={"time": "day", "test_size": 0.3})
    columns = {**config.data.columns, "day": DateColumn(format=form)}
    config = config.model_copy(update={"data": config.data.model_copy(update={"columns": columns})})

    dataset = build_dataset(config, table, digest="0" * 64)

    expected = pd.to_datetime(table["day"], format=form, utc=True)
    times = pd.to_datetime(dataset.metadata.times, unit="us", utc=True)
    assert times.tolist() == expected.tolist()
    assert times[dataset.X_train.index].max() < times[dataset.X_test.index].min()


def test_moments_with_and_without_a_zone_are_in_one_order():
    moments = [datetime(2024, 1, 1, 10, tzinfo=UTC), date(2024, 1, 2), datetime(2024, 1, 1, 9)]
    texts = np.array([moment.isoformat() for moment in moments])[np.arange(ROWS) // 80]
    dataset = split({"time": "day", "test_size": 0.3}, day=texts)
    assert dataset.X_test.index.tolist() == list(range(80, 160))
    assert Split(time="day").group is None
