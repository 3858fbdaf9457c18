"""The sentences with which a table or a row is refused."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pipeline.errors import ContractError

MOST_FAULTS = 10


@dataclass(frozen=True, order=True)
class Fault:
    """A rule that one cell broke; rows count from 1, the header not included."""

    row: int
    column: str
    rule: str
    value: str
    kind: str = field(default="range", compare=False)  # of the rule: type, finite or range

    def moved(self, rows: int) -> "Fault":
        """The fault of the row so many rows later."""
        return replace(self, row=self.row + rows)

    def sentence(self, with_value: bool) -> str:
        """Row, column and rule, and the value where the reader may see it."""
        got = f" (got {self.value})" if with_value else ""
        return f"row {self.row}, {self.column}: {self.rule}{got}"


def contract_error(faults: Iterable[Fault], with_values: bool = False) -> ContractError:
    """The error of one fault or more: the first ten, a sentence each."""
    faults = sorted(faults)
    sentences = [fault.sentence(with_values) for fault in faults[:MOST_FAULTS]]
    return ContractError("\n".join([*sentences, *more(len(faults))]), faults[0].kind)


def more(count: int) -> list[str]:
    """The line that closes a list of faults which holds not all of them."""
    return ["and more faults after these"] if count > MOST_FAULTS else []
