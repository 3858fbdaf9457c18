"""The checks of a table, in the order in which their findings are told."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pipeline.datasets.checks import columns, leakage, missing_marks, parts, row_structure
from pipeline.datasets.checks.finding import Check, Finding, draw
from pipeline.results import Dataset
from pipeline.schema.columns import Column

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "missing_numbers": missing_marks.marks_in_numbers,
        "missing_texts": missing_marks.marks_in_texts,
        "leaks": leakage.leaks,
        "copies": leakage.copies,
        "repeated_rows": parts.repeated_rows,
        "shift": parts.shift,
        "near_constant": columns.near_constant,
        "rare_classes": columns.rare_classes,
        "rare_levels": columns.rare_levels,
        "personal_data": columns.personal_data,
        "groups_and_times": row_structure.groups_and_times,
    }
)


def check_table(dataset: Dataset) -> dict[str, list[Finding]]:
    """The findings of each check, on a seeded sample of rows where there are many."""
    sample = draw(dataset)
    return {name: list(check(sample)) for name, check in CHECKS.items()}


def together(findings: Sequence[Finding]) -> Finding:
    """All settings of all findings: a column that one of them drops needs no other."""
    drop = {name: why for one in reversed(findings) for name, why in one.drop.items()}
    columns: dict[str, Column] = {}
    for one in findings:
        for name, column in one.columns.items():
            if name not in drop:
                columns[name] = _joined(columns[name], column) if name in columns else column
    split = {key: name for one in reversed(findings) for key, name in one.split.items()}
    return Finding("", columns, drop, split)


def _joined(column: Column, other: Column) -> Column:
    """The column with what the other has set besides; a mark is no level."""
    changes = {key: getattr(other, key) for key in other.model_fields_set}
    joined = column.model_copy(update={**changes, "missing": column.missing or other.missing})
    levels = getattr(joined, "levels", None)
    if levels is None:
        return joined
    return joined.model_copy(
        update={"levels": tuple(level for level in levels if level not in joined.marks)}
    )
