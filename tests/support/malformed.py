"""Requests that are refused, as data: for the contract of configs/pima.yaml and the usual limits.

A rule of `a|b` may be either; the words are those that the message must hold. Where the caller's
values, texts and names would show if they were echoed, they hold one of SENTINELS.
"""

import datetime
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.config.serve import Limits
from tests.support.pima import (
    CONTRACT,
    HEADER,
    LINE,
    NAMES,
    PATIENT,
    VALUES,
    csv,
    line,
    parquet,
    records,
    row,
    text,
)


class Case(NamedTuple):
    """A request, and how it is refused. `kind` is its Content-Type, empty for none."""

    name: str
    kind: str
    body: bytes
    status: int
    rule: str
    words: tuple[str, ...]


JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
SENTINELS = ("987654", "SECRET")
MOST_ROWS = Limits().rows
DEEP = 200_000
FORMS = "dataframe_records, dataframe_split, inputs, instances"
EXPECTED = f"expected columns: {', '.join(NAMES)}"
ROW = row()
BODY = records(ROW)
LISTS = {name: [value] for name, value in PATIENT.items()}
WITHOUT_BMI = text({name: value for name, value in PATIENT.items() if name != "BMI"})


def split(columns: str = text(NAMES), data: str = text([VALUES]), more: str = "") -> str:
    return f'{{"dataframe_split": {{"columns": {columns}, "data": {data}{more}}}}}'


def form(name: str, value: str) -> str:
    return f'{{"{name}": {value}}}'


def asked(params: str) -> str:
    return f'{{"params": {params}, "dataframe_records": [{ROW}]}}'


def breaking(rule: str, *cases: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Cases of a name, a body and words, with the rule that they all break."""
    return ((name, body, rule, words) for name, body, *words in cases)


# What is no JSON. Each is a body, as text or bytes.

NO_JSON = [
    ("nothing", ""),
    ("a form, urlencoded", "Glucose=987654&Age=50"),
    ("single quotes", BODY.replace('"', "'")),
    ("a comma too many", BODY.replace("}]", "},]")),
    ("a comma too few", BODY.replace(", ", " ", 1)),
    ("a comment", BODY.replace("[", "[/* SECRET */")),
    ("text after the end", f"{BODY} SECRET"),
    ("a byte order mark", b"\xef\xbb\xbf" + BODY.encode()),
    ("UTF-16", BODY.encode("utf-16")),
    ("a NUL at the end", f"{BODY}\x00"),
    ("a NUL in a key", BODY.replace('"Age"', '"A\x00ge"')),
    ("a no-break space between cells", BODY.replace(", ", ",\xa0", 1)),
    ("bytes that are no UTF-8 in a cell", records(row(Age='"@"')).encode().replace(b"@", b"\xff")),
    ("a letter in two bytes too many", BODY.encode().replace(b'"A', b'"\xc1\x81', 1)),
    ("half a pair, escaped, in a cell", records(row(Age=r'"\ud800"'))),
    ("half a pair, escaped, in a key", BODY.replace('"Age"', r'"\udc00"')),
    ("an escape that is none", BODY.replace('"Age"', r'"\x41ge"')),
    ("lists too deep", "[" * DEEP),
    ("objects too deep, and closed", '{"a":' * DEEP + "1" + "}" * DEEP),
    ("lists too deep in a cell", records(row(Age="[" * DEEP + "]" * DEEP))),
    *((f"the first {size} bytes of a body", BODY[:size]) for size in (1, 20, 60, len(BODY) - 1)),
    *(
        (f"the cell {cell:.20}", records(row(Glucose=cell)))
        for cell in (
            *("NaN", "Infinity", "-Infinity", "nan", "None", "True", "SECRET", "'987654'", ""),
            *("1e400", "-1e400", "1E999999999", "01", "+1", ".5", "1.", "0x10", "1_000", "1e"),
            *("--1", "1,5", "-", "٣", "9" * 5000, "-" + "9" * 5000),
        )
    ),
]

# A cell that is no number or breaks its column's rule, in every form. (cell, rule, words)

CELLS = [
    *(
        (cell, "type", "must be a number")
        for cell in ('"SECRET"', '"987654"', '""', "true", '{"SECRET": 987654}')
    ),
    *(
        (cell, "range", "must be at most 600 mg/dL")
        for cell in ("987654", "987654" + "0" * 294, "600.0000000001")
    ),
    *((cell, "range", "must be at least 20 mg/dL") for cell in ("-987654", "0.987654")),
]
IN_FORMS = {
    "in records": lambda cell: records(row(Glucose=cell)),
    "in a list of inputs": lambda cell: form("inputs", f"[{row(Glucose=cell)}]"),
    "in a list of instances": lambda cell: form("instances", f"[{row(Glucose=cell)}]"),
    "in a split table": lambda cell: split(data=text([VALUES]).replace("148", cell)),
    "in a column": lambda cell: form("inputs", text(LISTS).replace("148", cell)),
    "alone": lambda cell: form("instances", row(Glucose=cell)),
}

# A body with a fault in its form. (name, body, rule, words)

OTHER_JSON = [
    # The body as a whole.
    *(
        (f"the body {body}", body, "form", f"must be an object with one of {FORMS}")
        for body in ("null", "987654", '"SECRET"', "true", "[]", f"[{ROW}]", text(VALUES))
    ),
    *breaking(
        "form",
        ("params alone", '{"params": {}}', "it has none of them"),
        ("MLflow's old key", BODY.replace("}]}", '}], "signature_name": "SECRET"}'), "other"),
        ("a form in capitals", BODY.replace("dataframe_records", "Dataframe_Records"), "none"),
        ("two forms", '{"inputs": [], "instances": []}', "it has inputs, instances"),
    ),
    # What a form holds.
    *(
        (f"{name} of {value}", form(name, value), "form", f"{name} must be a list of objects")
        for name in ("dataframe_records", "inputs", "instances")
        for value in ("null", "987654", '"SECRET"', "true", text(VALUES), text([VALUES]))
    ),
    *(
        (f"a row of {value}", records(ROW, value), "form", "list of objects, one per row")
        for value in ("null", "987654", '"SECRET"', "[]", text(VALUES), f"[{ROW}]", "true")
    ),
    *breaking(
        "form",
        ("records as an object", form("dataframe_records", ROW), "list of objects"),
        ("records in records", form("dataframe_records", BODY), "list of objects"),
    ),
    # Columns of a row.
    *breaking(
        "columns",
        ("an empty row", records("{}"), "column 'Pregnancies' is missing", EXPECTED),
        ("a column left out", records(WITHOUT_BMI), "row 1: column 'BMI' is missing", EXPECTED),
        ("no BMI in the second row", records(ROW, WITHOUT_BMI), "row 2: column 'BMI' is missing"),
        (
            "a misspelt column",
            records(ROW.replace("Glucose", "Glucos")),
            "column number 2 is not known, did you mean 'Glucose'?",
            "column 'Glucose' is missing",
        ),
        ("a column with a space", records(ROW.replace("Age", "Age ")), "'Age'"),
        ("the target among the columns", records(row(Outcome="1")), "number 9"),
        ("a name of 96,000 letters", records(ROW.replace("Age", "SECRET" * 16_000)), "number 8"),
        (
            "many unknown columns",
            records(text({f"SECRET{place}": 987654 for place in range(5000)})),
            *("and more faults after these", EXPECTED),
        ),
    ),
    # Keys twice, on every level.
    *(
        (f"twice {name}", body, "duplicate_key", "an object of the body has a key twice")
        for name, body in {
            "a form": f'{{"inputs": [], "inputs": [{ROW}]}}',
            "the params, null at last": f'{{"params": {{}}, "params": null, "inputs": [{ROW}]}}',
            "a param": asked('{"version": true, "version": false}'),
            "a column": records(ROW[:-1] + ', "Age": 50}'),
            "a column, escaped": records(ROW[:-1] + ', "\\u0041ge": 50}'),
            "a column in the second row": records(ROW, ROW[:-1] + ', "Age": 50}'),
            "a column instead of another": records(ROW.replace("BMI", "Age")),
            "a key in a cell": records(row(Age='{"SECRET": 1, "SECRET": 2}')),
            "a column as a list": form("inputs", text(LISTS)[:-1] + ', "Age": [50]}'),
            "the data": split(more=f', "data": {text([VALUES])}'),
        }.items()
    ),
    # A split table.
    *(
        (f"dataframe_split of {value}", form("dataframe_split", value), "form", "must hold columns")
        for value in (
            *("null", '"SECRET"', "[]", "{}", ROW),
            *(f'{{"columns": {text(NAMES)}}}', f'{{"data": {text([VALUES])}}}'),
        )
    ),
    *breaking("form", ("another key", split(more=', "SECRET": []'), "may hold index")),
    *(
        (f"columns {value}", split(columns=value), "form", "columns must be a list of names")
        for value in (
            *("null", "987654", '"SECRET"', "{}", text(dict.fromkeys(NAMES, 1))),
            *(text([*NAMES[:-1], None]), text([*NAMES[:-1], 987654]), text([NAMES]), "[true]"),
        )
    ),
    *(
        (f"data {value}", split(data=value), "form", "data must be a list of lists, one per row")
        for value in (
            *("null", "987654", '"SECRET"', "{}", f"[{ROW}]", text(VALUES), "[null]"),
            *('["SECRET"]', text([VALUES, None]), text({"0": VALUES})),
        )
    ),
    *breaking(
        "ragged",
        ("a row of no cells", split(data="[[]]"), "row 1 has 0 cells for 8 columns"),
        ("a cell too many", split(data=text([VALUES, [*VALUES, 987654]])), "row 2 has 9 cells"),
        ("a cell too few", split(data=text([VALUES[:-1]])), "row 1 has 7 cells for 8 columns"),
    ),
    *breaking(
        "columns",
        ("no columns", split(columns="[]"), "column 'Pregnancies' is missing", EXPECTED),
        ("a name twice", split(columns=text([*NAMES[:-1], "BMI"])), "'BMI' is there twice"),
        ("an unknown name", split(columns=text([*NAMES[:-1], "SECRET"])), "number 8 is not known"),
    ),
    *(
        (f"an index {value}", split(more=f', "index": {value}'), "index", "one entry per row")
        for value in ("[]", '[0, "SECRET"]', "987654", '"SECRET"', '{"0": 0}', "true")
    ),
    # Columns.
    *(
        (f"{name} {fault}", form(name, text(value)), rule, words)
        for name in ("inputs", "instances")
        for rule, words, faults in (
            ("columns", "column 'Pregnancies' is missing", {"of none": {}}),
            ("columns", "number 9 is not known", {"too many": LISTS | {"SECRET": [987654]}}),
            (
                *("ragged", f"the columns in {name} must be of one length"),
                {"of two lengths": LISTS | {"Age": [1, 2]}, "of no length": LISTS | {"Age": []}},
            ),
            (
                *("form", f"{name} must hold a list per column, or one value per column"),
                {"of lists and values": LISTS | {"Age": 987654}},
            ),
            (
                *("type", "row 1, Age: must be a number"),
                {"of lists of lists": {name: [cells] for name, cells in LISTS.items()}},
            ),
        )
        for fault, value in faults.items()
    ),
    # Params.
    *(
        (f"the params {value}", asked(value), "params", "params must be an object")
        for value in ("[]", "987654", '"SECRET"', "true", "false", "0", "[{}]")
    ),
    *(
        (f"params.{value}", asked(f"{{{value}}}"), "params", f"params{words}")
        for words, params in {
            " may hold threshold, version, explain only": (
                *(
                    '"SECRET": 987654',
                    '"Threshold": 0.5',
                    '"": 0.5',
                    '"version": true, "SECRET": 1',
                ),
            ),
            ".threshold must be a number": (
                *('"threshold": true', '"threshold": "SECRET"', '"threshold": [0.5]'),
            ),
            ".threshold must be between 0 and 1": (
                *('"threshold": -1e-300', '"threshold": 1.0000001', '"threshold": 987654'),
            ),
            ".version must be true or false": ('"version": "yes"', '"version": 1'),
            ".explain must be true or false": ('"explain": "yes"', '"explain": 0'),
        }.items()
        for value in params
    ),
    (
        "more rows explained than may be",
        text({"params": {"explain": True}, "dataframe_records": [PATIENT] * 101}),
        *("params", "params.explain takes at most 100 rows"),
    ),
    # Deep, but not too deep for the first parser; for the second it depends on the caller's stack.
    *breaking(
        "json|type",
        ("objects that are just not too deep", records(row(Age='{"a":' * 1000 + "1" + "}" * 1000))),
    ),
    *breaking(
        "type",
        ("lists that are not deep", records(row(Age="[[[[987654]]]]")), "row 1, Age"),
        (
            "more faults than are named",
            records(*[row(Glucose="987654", Age='"SECRET"')] * 20),
            *("row 1, Age: must be a number", "row 1, Glucose: must be"),
            "and more faults after these",
        ),
    ),
]

# The range of every column. (name, body, rule, words)

RANGES = [
    (f"{name} {word} than may be", records(row(**{name: text(cell)})), "range", words)
    for name, column in CONTRACT.columns.items()
    for word, cell, words in (
        ("less", column.range[0] - 0.4987654, f"row 1, {name}: must be at least "),
        ("more", column.range[1] + 0.4987654, f"row 1, {name}: must be at most "),
    )
]

# CSV. (name, body, rule, words)

OTHER_CSV = [
    *breaking(
        "csv",
        ("nothing", b"", "not CSV with a header and commas"),
        ("a quote left open at the start", csv('"' + LINE), "a quote is neither"),
        ("a name with more behind its quotes", csv(LINE, header=f'"{HEADER[:3]}"x')),
        ("a name of 2,000,000 letters", csv(LINE, header="SECRET" * 333_334), "not CSV"),
        ("bytes that are no UTF-8", csv(LINE) + b"\xff\xfe987654\n", "not in UTF-8"),
        ("Latin-1 in the header", csv(LINE, header="µ").decode().encode("latin-1"), "UTF-8"),
        *(
            (f"a quote that is astray: {cell!r}", csv(LINE, line(Glucose=cell)), "a quote is")
            for cell in (
                *('148"', '"148', '"1"48', '1"4"8', '"148" ', ' "148"', '""148', '"1"4"8"', '"'),
            )
        ),
    ),
    *breaking(
        "columns",
        ("an unknown column", csv(LINE + ",987654", header=HEADER + ",SECRET"), "number 9"),
        ("a column twice", csv(LINE + ",50", header=HEADER + ",Age"), "'Age' is there twice"),
        ("a column left out", csv("6,148", header="Pregnancies,Glucose"), "'BMI' is missing"),
        ("a misspelt column", csv(LINE, header=HEADER.replace("BMI", "BMJ")), "mean 'BMI'?"),
        ("spaces in the header", csv(LINE, header=HEADER.replace(",", ", ")), "number 2"),
        ("semicolons", csv(LINE).replace(b",", b";"), "column number 1 is not known"),
        ("a line break in a name", csv(LINE, header=HEADER.replace("Age", '"A\nge"')), "'Age'"),
        ("a NUL in a name", csv(LINE, header=HEADER + "\x00"), "column number 8"),
    ),
    *breaking(
        "columns|csv|ragged",
        ("line breaks", b"\r\n\r\n\r\n"),
        ("JSON", BODY.encode()),
        ("a carriage return in a name", csv(LINE, header=HEADER.replace("Age", "SEC\rRET"))),
        ("a name of 200,000 letters", csv(LINE, header=HEADER.replace("Age", "SECRET" * 33_334))),
        ("UTF-16 without a mark", csv(LINE).decode().encode("utf-16-le")),
    ),
    *breaking(
        "ragged",
        ("a comment first", b"# SECRET\n" + csv(LINE), "line 2 has 8 cells for 1"),
        ("a cell too few", csv(LINE, LINE[:-3]), "line 3 has 7 cells for 8 columns"),
        ("a cell too many", csv(LINE, LINE, LINE + ",987654"), "line 4 has 9 cells"),
        ("a decimal comma", csv(line(BMI="33,6")), "line 2 has 9 cells for 8 columns"),
    ),
    *breaking("type", ("the header twice", csv(HEADER, LINE), "row 1, Age: must be a number")),
    *(
        (f"the cell {cell!r:.20}", csv(LINE, line(Glucose=cell)), rule, f"row 2, Glucose: {words}")
        for cells, rule, words in (
            (
                (
                    *("SECRET", "true", "NULL", "null", "None", "N/A", "-", ".", "''", "148€"),
                    *("nan", "NaN", "-nan", "nan(1)", "0x94", "1_48", "148d", "٣", "148\x0c"),
                    *(" 148", "148 ", "\t148", "148\x00", "148%", "1e", "--1", '""', '" 148"'),
                    *("+148", "148.", ".148e3", "0148", "1e+-2", "inf", "-inf", "1 48"),
                    *("2020-01-01", "12:30"),
                ),
                *("type", "must be a number"),
            ),
            (("1e400", "9" * 5000), "finite", "must be finite"),
            (("987654", "1e300", '"987654"', "601"), "range", "must be at most 600 mg/dL"),
            (("-987654", "-1e300", "19.5"), "range", "must be at least 20 mg/dL"),
        )
        for cell in cells
    ),
    *(
        (
            f"a byte order mark, and {cell} in the first column",
            csv(line(Pregnancies=cell), header="\ufeff" + HEADER),
            *("type", "row 1, Pregnancies: must be a number"),
        )
        for cell in ("SECRET", "true", "2020-01-01", "12:30:00")
    ),
]

# Parquet. (name, body, rule, words)

WHOLE = parquet()
WHOLE_TABLE = pa.table({name: [1] for name in NAMES})
NOT_WHOLE = "the body is not a whole Parquet file"
OTHER_PARQUET = [
    *(
        (name, body, "parquet", (NOT_WHOLE,))
        for name, body in {
            "nothing": b"",
            "nothing between the magic": b"PAR1PAR1",
            "CSV": csv(LINE),
            "a file cut short": WHOLE[:-20],
            "a file without its start": WHOLE[40:],
            "a footer longer than the file": WHOLE[:-8] + b"\xff\xff\xff\x7fPAR1",
            "an encrypted footer": WHOLE[:-4] + b"PARE",
            "a name that is no UTF-8": WHOLE.replace(b"Glucose", b"Glucos\xff"),
        }.items()
    ),
    *(
        (f"a column of {name}", parquet(BMI=cells), "type", "'BMI' must be of integers or floats")
        for name, cells in {
            "texts": ["SECRET", "987654"],
            "booleans": [True, False],
            "lists": [[33.6], [987654.0]],
            "dates": [datetime.date(2020, 1, 1)] * 2,
            "decimals": [Decimal("33.6")] * 2,
            "bytes": [b"SECRET", b"987654"],
            "categories": pa.array(["SECRET", "987654"]).dictionary_encode(),
        }.items()
    ),
    *breaking(
        "columns",
        ("no columns", parquet(pa.table({})), EXPECTED),
        ("an unknown column", parquet(SECRET=[987654, 1]), "column number 9 is not"),
        ("pandas's index by a name", parquet(__index__=[0, 1]), "column number 9"),
        ("no BMI", parquet(WHOLE_TABLE.drop(["BMI"])), "'BMI' is missing"),
        (
            "a column twice",
            parquet(WHOLE_TABLE.append_column("Age", pa.array([1]))),
            "column 'Age' is there twice",
        ),
    ),
    ("NaN", parquet(BMI=[33.6, float("nan")]), "type", "row 2, BMI: must be a number"),
    ("infinity", parquet(BMI=[33.6, float("inf")]), "finite", "row 2, BMI: must be finite"),
    ("64 bits", parquet(Age=pa.array([1, 2**64 - 1], pa.uint64())), "range", "row 2, Age"),
    *breaking(
        "rows",
        ("more rows than may be", parquet(rows=MOST_ROWS + 1), f"more than {MOST_ROWS} rows"),
        (
            "millions of rows in a few bytes",
            parquet(pa.table({name: pa.nulls(4_000_000, pa.int8()) for name in NAMES})),
            f"more than {MOST_ROWS} rows",
        ),
        (
            "two cells of millions of bytes",
            parquet(BMI=["SECRET" * 500_000] * 2),
            "far larger unpacked than its rows can be",
        ),
    ),
]

# More rows than may be. (name, Content-Type, body)

NULLS = [None] * len(NAMES)
TOO_MANY_ROWS = [
    ("records", JSON, records(*["{}"] * (MOST_ROWS + 1)).encode()),
    ("a split table", JSON, split(data=text([NULLS] * (MOST_ROWS + 1))).encode()),
    (
        "columns",
        JSON,
        form("inputs", text(dict.fromkeys(NAMES, [None] * (MOST_ROWS + 1)))).encode(),
    ),
    ("lines", CSV, csv(*["," * 7] * (MOST_ROWS + 1))),
    ("lines with a quote", CSV, csv('"6",,,,,,,', *["," * 7] * MOST_ROWS)),
]

# Headers that name no type that is read. (name, Content-Type)

TYPES = [
    ("no Content-Type", ""),
    *(
        (f"Content-Type {header}", header)
        for header in (
            *("text/plain", "text/html", "text/json", "application/SECRET", "SECRET", "*/*", ";"),
            *("application/jsonp", "application/json5", "application/json, text/csv", "json"),
            *("application/octet-stream", "application/parquet"),
            *("multipart/form-data; boundary=SECRET", "application/x-www-form-urlencoded"),
            *("application/json; charset=latin-1", "application/json; charset=utf-16"),
            *(
                "application/json; charset=SECRET",
                "application/json; charset=",
                "text/csv; charset",
            ),
            "application/json; charset=utf-8; charset=latin-1",
            *("application/json; SECRET=987654", "text/csv; charset=utf-8; header=absent"),
            *('application/json; charset="utf-8" SECRET', "application/json charset=utf-8"),
        )
    ),
]


STATUSES = {"rows": 413, "content_type": 415}


def case(name: str, kind: str, body: str | bytes, rule: str, words: Any) -> Case:
    body = body.encode() if isinstance(body, str) else body
    words = (words,) if isinstance(words, str) else tuple(words)
    return Case(name, kind, body, STATUSES.get(rule, 400), rule, words)


MALFORMED = [
    *(
        case(f"no JSON: {name}", JSON, body, "json", "the body is not valid JSON: ")
        for name, body in NO_JSON
    ),
    *(
        case(f"JSON: {cell:.30} {place}", JSON, body(cell), rule, f"row 1, Glucose: {words}")
        for cell, rule, words in CELLS
        for place, body in IN_FORMS.items()
    ),
    *(case(f"JSON: {name}", JSON, *rest) for name, *rest in (*OTHER_JSON, *RANGES)),
    *(case(f"CSV: {name}", CSV, *rest) for name, *rest in OTHER_CSV),
    *(case(f"Parquet: {name}", PARQUET, *rest) for name, *rest in OTHER_PARQUET),
    *(
        case(f"too many rows: {name}", kind, body, "rows", (f"{MOST_ROWS}", "rows"))
        for name, kind, body in TOO_MANY_ROWS
    ),
    *(case(name, kind, BODY, "content_type", "the header Content-Type ") for name, kind in TYPES),
]
