"""How a CSV file is written: found out from its first lines, but for what the config says."""

import codecs
import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING

from pipeline.config.csv import Csv
from pipeline.errors import SourceError

if TYPE_CHECKING:
    from _csv import Reader

log = logging.getLogger(__name__)

SEPARATORS = (",", ";", "\t", "|")  # the first that fits is taken
OTHER_SEPARATORS = (" ", ":", "~", "^", "\x01")  # to be named in a message, but not taken
COMMENT = "#"
FALLBACK = "cp1252"  # Windows' Western European, in which spreadsheets save CSV
SAMPLE_BYTES = 2**18
LARGEST_SAMPLE = 2**25
SAMPLE_ROWS = 200
BLOCK = 2**20  # bytes that are decoded at a time
BYTE_ORDER_MARKS = (  # the longer ones first: that of UTF-16 begins that of UTF-32
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SEPARATOR_OF_EXCEL = re.compile(r"sep=(.)")  # in the first line
EXPONENT = r"(?:[eE][+-]?\d+)?"
GROUPED = r"[1-9]\d{0,2}(?:\.\d{3})+"  # 1.234.567
WITH_COMMA = rf"^\s*[+-]?(?:{GROUPED}|\d+)?(?:,\d*)?{EXPONENT}\s*$"  # 1, 1,5 and 1.234,5
WITH_POINT = rf"^\s*[+-]?\d*\.?\d*{EXPONENT}\s*$"

Rows = list[list[str]]


@dataclass(frozen=True)
class Dialect:
    """How the cells of a CSV file are to be read."""

    separator: str
    quote: str  # empty for none
    decimal: str
    encoding: str
    skipped_lines: int  # before the header


def detect(file: IO[bytes], settings: Csv, what: str) -> Dialect:
    """The dialect, by the settings where they are given; `what` names the file in messages.

    Raises SourceError where the file does not show it.
    """
    encoding = settings.encoding or _encoding(file, what)
    sample, is_whole = _sample(file, encoding, what)
    lines = re.split("\r\n|\r|\n", sample)
    excels = SEPARATOR_OF_EXCEL.fullmatch(lines[0])
    quote = settings.quote
    if quote is None:
        quote = "'" if '"' not in sample and re.search(r"^'[^'\r\n]*'\W'", sample, re.M) else '"'
    skipped_lines = 1 if excels else _comment_lines(lines, settings)
    text = "\n".join(lines[skipped_lines:])
    if not text.strip():
        raise SourceError(f"{what} has no header, only comments and empty lines")
    table = _Sample(text, is_whole, quote)
    separator = settings.separator or (excels[1] if excels else table.separator())
    rows = table.rows(separator)
    if not rows or len(rows[0]) == 1:
        raise SourceError(f"{what} {_one_column(table, separator)}")
    decimal = settings.decimal or ("." if separator == "," else _decimal(rows, what))
    dialect = Dialect(separator, quote, decimal, encoding, skipped_lines)
    _report(dialect, settings, what)
    return dialect


def _report(dialect: Dialect, settings: Csv, what: str) -> None:
    """Logs what was found out and is not what most files have."""
    unusual = {
        "encoding": (dialect.encoding, "utf-8", "not in UTF-8, read as cp1252"),
        "separator": (dialect.separator, ",", f"the separator is {dialect.separator!r}"),
        "decimal": (dialect.decimal, ".", "numbers have decimal commas"),
        "quote": (dialect.quote, '"', f"the quote is {dialect.quote!r}"),
        "comment": (
            dialect.skipped_lines,
            0,
            f"skipped before the header: {dialect.skipped_lines} lines",
        ),
    }
    for name, (value, usual, sentence) in unusual.items():
        if getattr(settings, name) is None and value != usual and not str(value).startswith("utf"):
            log.info("%s: %s; if not so, set data.csv.%s", what, sentence, name)


def _encoding(file: IO[bytes], what: str) -> str:
    """UTF-8, or what the byte order mark says, else the fallback. Raises SourceError for NULs."""
    file.seek(0)
    head = file.read(4)
    for mark, name in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return name
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8 = True
    while block := file.read(BLOCK):
        if b"\0" in block:
            raise SourceError(
                f"{what} holds zero bytes: it is no text, or one in UTF-16 without its mark; "
                "save it as UTF-8, or set data.csv.encoding (utf-16-le, utf-16-be)"
            )
        try:
            decoder.decode(block) if is_utf8 else None
        except UnicodeDecodeError:
            _check_not_broken(block, what)
            is_utf8 = False
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        is_utf8 = False
    return "utf-8" if is_utf8 else FALLBACK


def _check_not_broken(block: bytes, what: str) -> None:
    """Raises SourceError for what is UTF-8 but for a few bytes: as cp1252 all would be garbled."""
    text = block.decode("utf-8", errors="replace")
    whole, *others = text.split("\ufffd")  # the replacement character
    if sum(not character.isascii() for character in text) > 2 * len(others):
        raise SourceError(
            f"{what} is in UTF-8 but for {len(others)} bytes, the first after {whole[-20:]!r}; "
            "mend them, or set data.csv.encoding"
        )


def _sample(file: IO[bytes], encoding: str, what: str) -> tuple[str, bool]:
    """The beginning of the file as text, and whether that is all."""
    file.seek(0)
    content = file.read(SAMPLE_BYTES)
    is_whole = len(content) < SAMPLE_BYTES
    while not is_whole and len(content) < LARGEST_SAMPLE and len(content.splitlines()) < 4:
        more = file.read(len(content))  # some have 20,000 columns
        is_whole = len(more) < len(content)
        content += more
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(content, final=is_whole)
    except UnicodeError as error:
        raise not_encoded(what, encoding, error) from None
    return text.removeprefix("\ufeff"), is_whole


def not_encoded(what: str, encoding: str, error: UnicodeError) -> SourceError:
    """The error of a file that does not decode."""
    tried = "neither UTF-8 nor cp1252" if encoding == FALLBACK else f"not in {encoding}"
    return SourceError(
        f"{what} is {tried} ({error}); set data.csv.encoding to what it is in, "
        "or save the file as UTF-8"
    )


def _comment_lines(lines: Sequence[str], settings: Csv) -> int:
    """How many lines stand before the header: empty ones, and those that begin with the mark.

    The last of them is the header itself where as many cells, and numbers, stand right below.
    """
    mark = COMMENT if settings.comment is None else settings.comment
    count = 0
    while count < len(lines) and (
        not lines[count].strip() or (mark and lines[count].startswith(mark))
    ):
        count += 1
    if settings.comment is None and 0 < count < len(lines) and lines[count - 1].strip():
        for separator in SEPARATORS:
            header, row = lines[count - 1].split(separator), lines[count].split(separator)
            if 1 < len(header) == len(row) and any(re.match(WITH_POINT, cell) for cell in row):
                return count - 1
    return count


class _Sample:
    """The first rows as each separator cuts them."""

    def __init__(self, text: str, is_whole: bool, quote: str) -> None:
        self.text = text
        self._is_whole = is_whole
        self._quote = quote
        self._rows: dict[str, Rows] = {}

    def rows(self, separator: str) -> Rows:
        """The first rows that are not empty, the header first."""
        if separator not in self._rows:
            self._rows[separator] = [row for row in self._parsed(separator) if row]
        return self._rows[separator]

    def _parsed(self, separator: str) -> Rows:
        reader = _reader(io.StringIO(self.text, newline=""), separator, self._quote)
        rows: Rows = []
        try:
            rows.extend(islice(reader, SAMPLE_ROWS))
        except csv.Error:  # a cell is too long, as where a quote is never closed
            return rows
        if len(rows) < SAMPLE_ROWS and not self._is_whole:
            rows.pop()  # it may be cut off
        return rows

    def separator(self) -> str:
        """The separator that gives the most rows as many cells as the header, two or more.

        Of several, the one of the most columns, of names without blanks around them, or of the
        most numbers: `a, cm;b` may stand above `1,5;2`.
        """
        return max(SEPARATORS, key=lambda one: (self.fit(one), *self._content(one)))

    def _content(self, separator: str) -> tuple[int, bool, int]:
        """The count of columns, whether their names have no blank around, the count of numbers."""
        number = WITH_POINT if separator == "," else WITH_COMMA
        rows = self.rows(separator)
        header = rows[0] if rows else []
        count = sum(bool(re.match(number, cell)) for row in rows for cell in row)
        return len(header), all(name == name.strip() for name in header), count

    def fit(self, separator: str) -> float:
        """The share of rows that have as many cells as the header, 0 for one cell."""
        rows = self.rows(separator)
        if not rows or len(rows[0]) == 1:
            return 0.0
        if len(rows) == 1:
            return 1.0
        return sum(len(row) == len(rows[0]) for row in rows[1:]) / (len(rows) - 1) + 1e-9


def _one_column(table: _Sample, separator: str) -> str:
    """What is wrong where the separator gives one column."""
    header = table.text.splitlines()[0][:40]
    better = max((*SEPARATORS, *OTHER_SEPARATORS), key=table.fit)
    if table.fit(better) > 0.9:
        return (
            f"has one column, {header!r}, where it is cut at {separator!r}: the separator seems "
            f"to be {better!r}; set data.csv.separator to {better!r}"
        )
    for candidate in SEPARATORS:
        counts = [len(row) for row in table.rows(candidate)]
        (common, _), *_ = Counter(counts).most_common(1) or [(1, 0)]
        if common > 1:
            return (
                f"begins with {header!r}, and {common} cells in row "
                f"{counts.index(common) + 1} look like the header: take out what stands before "
                "it, or set data.csv.comment to how such lines begin"
            )
    return (
        f"has one column, {header!r}; a table needs two or more, with a separator between them: "
        "set data.csv.separator to it"
    )


def _decimal(rows: Rows, what: str) -> str:
    """The decimal mark, by the columns of which every cell with a digit is a number."""
    commas, points = [], []
    for name, *cells in zip(*(row for row in rows if len(row) == len(rows[0])), strict=True):
        with_digits = [cell for cell in cells if re.search(r"\d", cell)]
        if not with_digits:
            continue
        text = " ".join(with_digits)
        if all(re.match(WITH_COMMA, cell) for cell in with_digits):  # or integers
            commas += [name] * ("," in text)
        elif all(re.match(WITH_POINT, cell) for cell in with_digits):
            points.append(name)
    if commas and points:
        raise SourceError(
            f"{what} has decimal commas in column {commas[0]!r} and decimal points in "
            f"{points[0]!r}: set data.csv.decimal to the one that counts, and mend the other"
        )
    return "," if commas else "."


def _reader(text: Iterable[str], separator: str, quote: str) -> "Reader":
    if not quote:
        return csv.reader(text, delimiter=separator, quoting=csv.QUOTE_NONE)
    return csv.reader(text, delimiter=separator, quotechar=quote)


def lines_of(file: IO[bytes], dialect: Dialect) -> Iterator[tuple[int, list[str] | None]]:
    """The number of the line where each row begins, and its cells.

    None in their place for a row with a cell of more than 128 KiB, which is the last.
    """
    file.seek(0)
    text = codecs.getreader(dialect.encoding)(file)
    skipped = [text.readline() for _ in range(dialect.skipped_lines)]
    reader = _reader(text, dialect.separator, dialect.quote)
    line = len(skipped) + 1
    try:
        for row in reader:
            yield line, row
            line = len(skipped) + reader.line_num + 1
    except csv.Error:
        yield line, None
