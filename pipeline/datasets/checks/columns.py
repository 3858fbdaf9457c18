"""Columns, classes and levels from which little can be learnt, and columns that name people."""

import re
from collections.abc import Iterator

import numpy as np

from pipeline.datasets.checks.finding import Finding, Sample
from pipeline.schema.coded import Coded
from pipeline.schema.columns import CategoryColumn, DateColumn, NumberColumn
from pipeline.schema.kinds import kind_of

CONSTANT = 0.99  # share of rows with one value
RARE_LEVEL = 5  # rows of the training part
RARE_CLASS = 10  # rows of the test part
RARE_SHARE = 0.05
MOST_NAMED = 5
PERSONS = 10  # different values, more than which a column that names people has
PATTERNS = {
    "e-mail addresses": r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}",
    "IBANs": r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?([A-Z0-9]{4} ?){2,6}[A-Z0-9]{0,4}",
    "telephone numbers": r"(\+|00)[0-9][0-9 ()/.-]{6,}[0-9]|\(?0[0-9]{2,5}\)?[ /-][0-9 -]{5,}"
    r"|\(?[0-9]{3}\)?[ -.][0-9]{3}[ -.][0-9]{4}",
}
TEXT_NAMES = {
    "e-mail addresses": r"e_?mail",
    "telephone numbers": r"(tele)?phone|mobile|fax",
    "IBANs": r"iban",
    "names": r"(first|last|sur|full|given|family|middle|user|maiden)_?name|name|vorname|nachname",
    "addresses": r"(street|postal|home)_?(address)?|address",
    "numbers of people": r"ssn|passport|social_?security(_?(nr|no|number))?|tax_?id",
}
DATE_NAMES = r"birth(_?(day|date))?|dob|date_?of_?birth|born"


def near_constant(sample: Sample) -> Iterator[Finding]:
    """Columns with one value, or none, in almost all rows."""
    for name in sample.columns:
        different, counts = np.unique(sample.values(name), return_counts=True)
        if counts.max() > CONSTANT * len(sample.y):
            value = sample.written(name, float(different[counts.argmax()]))
            rows = f"{counts.max()} of {len(sample.y)} rows"
            yield Finding(
                f"{name}: is {value} in {rows}, and little can be learnt from it",
                drop={name: f"is {value} in {rows}"},
            )


def rare_classes(sample: Sample) -> Iterator[Finding]:
    """Classes of which the test part has so few rows that its metrics say little of them."""
    data, contract = sample.dataset, sample.dataset.contract
    test, every = data.y_test.value_counts(), data.y.value_counts(normalize=True)
    for label in contract.classes:
        rows = int(test.get(label, 0))
        if rows < RARE_CLASS and every[label] < RARE_SHARE:
            yield Finding(
                f"{contract.target}: the class {label!r} has {rows} rows in the test part, too few "
                "to say how well it is predicted; add rows of it, or join it with another class"
            )


def rare_levels(sample: Sample) -> Iterator[Finding]:
    """Categories with levels of a few rows, which may count as one: as others."""
    train = sample.dataset.X_train
    for name, column in sample.columns.items():
        if not isinstance(column, CategoryColumn) or not column.levels:
            continue
        codes = train[name].to_numpy()
        counts = np.bincount(codes[codes >= 0].astype(int), minlength=len(column.levels))
        rare = [
            level for level, rows in zip(column.levels, counts, strict=True) if rows < RARE_LEVEL
        ]
        usual = tuple(level for level in column.levels if level not in rare)
        if rare and usual:
            few = ", ".join(map(repr, rare[:MOST_NAMED]))
            more = f" and {len(rare) - MOST_NAMED} more" if len(rare) > MOST_NAMED else ""
            yield Finding(
                f"{name}: {few}{more} have fewer than {RARE_LEVEL} rows in the training part; as "
                "others they count together",
                columns={name: sample.setting(name, levels=usual, unseen="other")},
            )


def personal_data(sample: Sample) -> Iterator[Finding]:
    """Columns that probably say who a row is about, by their name or by how their texts look."""
    for name in sample.columns:
        what = personal(sample, name)
        if what:
            yield Finding(
                f"{name}: seems to hold {what}; such data of people belong into no model",
                drop={name: f"personal data ({what})"},
            )


def personal(sample: Sample, name: str) -> str:
    """What a column holds that says who a row is about; empty if nothing."""
    column, words = sample.columns[name], words_of(name)
    if isinstance(column, DateColumn):
        return "dates of birth" if is_of_birth(name) else ""
    if isinstance(column, NumberColumn):
        largest = np.nanmax(sample.values(name), initial=0)
        is_number = _holds(TEXT_NAMES["telephone numbers"], words) and largest > 1e6
        return "telephone numbers" if is_number else ""
    kind = kind_of(column)
    values = kind.values(column) if isinstance(kind, Coded) else sample.texts.get(name, ())
    levels = [str(value) for value in values]
    for what, pattern in PATTERNS.items():
        if levels and sum(bool(re.fullmatch(pattern, one)) for one in levels) > len(levels) / 2:
            return what
    if len(levels) > PERSONS:
        return next((what for what, names in TEXT_NAMES.items() if _holds(names, words)), "")
    return ""


def is_of_birth(name: str) -> bool:
    """Whether a date is called so."""
    return _holds(DATE_NAMES, words_of(name))


def words_of(name: str) -> str:
    """The words of a column's name in small letters, between underscores."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")


def _holds(names: str, words: str) -> bool:
    return bool(re.search(rf"(^|_)({names})(_(nr|no|number))?$", words))
