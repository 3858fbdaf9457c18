"""Requests that are refused, as data: for the contract of configs/pima.yaml and the usual limits.

A rule of `a|b` may be either; the words are those that the message must hold. Where the caller's
values, texts and names would show if they were echoed, they hold one of SENTINELS.
"""

import datetime
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa

from pipeline.config.sections import Limits
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


def split(columns: str = text(NAMES), data: str = text([VALUES]), more: str = "") -> str:
    return f'{{"dataframe_split": {{"columns": {columns}, "data": {data}{more}}}}}'


def form(name: str, told: str) -> str:
    return f'{{"{name}": {told}}}'


def asked(params: str) -> str:
    return f'{{"params": {params}, "dataframe_records": [{ROW}]}}'


# What is no JSON. Each is a body, as text or bytes.

NO_JSON = [
    ("nothing", ""),
    ("white space", " \n\t "),
    ("a word", "SECRET"),
    ("a form, urlencoded", "Glucose=987654&Age=50"),
    ("single quotes", BODY.replace('"', "'")),
    ("a key without quotes", BODY.replace('"Age"', "Age")),
    ("a comma too many", BODY.replace("}]", "},]")),
    ("a comma after the last cell", BODY.replace("50}", "50,}")),
    ("a comma too few", BODY.replace(", ", " ", 1)),
    ("a colon too few", BODY.replace(": ", " ", 1)),
    ("a comment", BODY.replace("[", "[/* SECRET */")),
    ("a line break in a text", BODY.replace('"Age"', '"A\nge"')),
    ("text after the end", f"{BODY} SECRET"),
    ("two documents", f"{BODY}{BODY}"),
    ("a byte order mark", b"\xef\xbb\xbf" + BODY.encode()),
    ("UTF-16", BODY.encode("utf-16")),
    ("UTF-16 without a mark", BODY.encode("utf-16-le")),
    ("UTF-32", BODY.encode("utf-32")),
    ("a NUL at the start", f"\x00{BODY}"),
    ("a NUL at the end", f"{BODY}\x00"),
    ("a NUL in a key", BODY.replace('"Age"', '"A\x00ge"')),
    ("a form feed between cells", BODY.replace(", ", ",\x0c", 1)),
    ("a no-break space between cells", BODY.replace(", ", ",\xa0", 1)),
    ("bytes that are no UTF-8 in a cell", records(row(Age='"@"')).encode().replace(b"@", b"\xff")),
    ("bytes that are no UTF-8 in a key", BODY.encode().replace(b'"Age"', b'"Ag\xe9"')),
    ("bytes that are no UTF-8 between", BODY.encode().replace(b", ", b",\xfe", 1)),
    ("a letter in two bytes too many", BODY.encode().replace(b'"A', b'"\xc1\x81', 1)),
    ("half a pair in UTF-8", BODY.encode().replace(b'"A', b'"\xed\xa0\x80', 1)),
    ("half a pair, escaped, in a cell", records(row(Age=r'"\ud800"'))),
    ("half a pair, escaped, in a key", BODY.replace('"Age"', r'"\udc00"')),
    ("two halves the wrong way round", records(row(Age=r'"\udc00\ud800"'))),
    ("an escape that is none", BODY.replace('"Age"', r'"\x41ge"')),
    ("an escape cut short", BODY.replace('"Age"', r'"\u004"')),
    ("lists too deep", "[" * DEEP),
    ("lists too deep, and closed", "[" * DEEP + "]" * DEEP),
    ("objects too deep", '{"a":' * DEEP),
    ("objects too deep, and closed", '{"a":' * DEEP + "1" + "}" * DEEP),
    ("lists too deep in a cell", records(row(Age="[" * DEEP + "]" * DEEP))),
    *(
        (f"the first {share:.0%} of a body", BODY[: int(len(BODY) * share)])
        for share in (0.01, 0.1, 0.35, 0.5, 0.75, 0.99)
    ),
    *(
        (f"the cell {name}", records(row(Glucose=cell)))
        for name, cell in {
            **{token: token for token in ("NaN", "Infinity", "-Infinity", "nan", "inf", "None")},
            **{token: token for token in ("undefined", "True", "SECRET", "'987654'")},
            **{
                token: token for token in ("1e400", "-1e400", "1E999999999", "01", "+1", ".5", "1.")
            },
            **{token: token for token in ("0x10", "1_000", "1e", "--1", "1,5", "-", "1d", "٣")},
            "of 5,000 digits": "9" * 5000,
            "of 5,000 digits below zero": "-" + "9" * 5000,
            "left out": "",
        }.items()
    ),
]

# A cell that is no number or breaks its column's rule, in every form. (name, cell, rule, words)

CELLS = [
    ("a text", '"SECRET"', "type", "must be a number"),
    ("a number in quotes", '"987654"', "type", "must be a number"),
    ("an empty text", '""', "type", "must be a number"),
    ("the text NaN", '"NaN"', "type", "must be a number"),
    ("true", "true", "type", "must be a number"),
    ("false", "false", "type", "must be a number"),
    ("an object", '{"SECRET": 987654}', "type", "must be a number"),
    ("an empty object", "{}", "type", "must be a number"),
    ("too large", "987654", "range", "must be at most 600 mg/dL"),
    ("of 20 digits", "98765400000000000000", "range", "must be at most 600 mg/dL"),
    ("of 300 digits", "987654" + "0" * 294, "range", "must be at most 600 mg/dL"),
    ("the largest double", "1.7976931348623157e308", "range", "must be at most 600 mg/dL"),
    ("the smallest double", "-1.7976931348623157e308", "range", "must be at least 20 mg/dL"),
    ("below zero", "-987654", "range", "must be at least 20 mg/dL"),
    ("beside the mark", "0.987654", "range", "must be at least 20 mg/dL"),
    ("just above the range", "600.0000000001", "range", "must be at most 600 mg/dL"),
]
IN_FORMS = {
    "in records": lambda cell: records(row(Glucose=cell)),
    "in a list of inputs": lambda cell: form("inputs", f"[{row(Glucose=cell)}]"),
    "in a list of instances": lambda cell: form("instances", f"[{row(Glucose=cell)}]"),
    "in a split table": lambda cell: split(data=text([VALUES]).replace("148", cell)),
    "in a column": lambda cell: form(
        "inputs", text({name: [value] for name, value in PATIENT.items()}).replace("148", cell)
    ),
    "alone": lambda cell: form("instances", row(Glucose=cell)),
}

# A body with a fault in its form. (name, body, rule, words)

OTHER_JSON = [
    # The body as a whole.
    *(
        (f"the body {body}", body, "form", (f"must be an object with one of {FORMS}",))
        for body in ("null", "987654", '"SECRET"', "true", "[]", f"[{ROW}]", text(VALUES))
    ),
    ("an empty object", "{}", "form", (f"one of {FORMS}", "it has none of them")),
    ("params alone", '{"params": {}}', "form", ("it has none of them",)),
    ("a row alone", ROW, "form", ("it has none of them and 8 other keys",)),
    (
        "an unknown key alone",
        '{"SECRET": []}',
        "form",
        ("it has none of them and 1 other key",),
    ),
    (
        "an unknown key beside a form",
        '{"inputs": [], "SECRET": 987654}',
        "form",
        ("it has inputs and 1 other key",),
    ),
    (
        "MLflow's old key",
        BODY.replace("}]}", '}], "signature_name": "SECRET"}'),
        "form",
        ("other",),
    ),
    (
        "a form in capitals",
        BODY.replace("dataframe_records", "Dataframe_Records"),
        "form",
        ("none",),
    ),
    ("a form with a space", BODY.replace("records", "records "), "form", ("none of them",)),
    ("the form of pandas", BODY.replace("dataframe_records", "columns"), "form", ("none of them",)),
    ("two forms", '{"inputs": [], "instances": []}', "form", ("it has inputs, instances",)),
    (
        "all forms",
        text({name: [PATIENT] for name in FORMS.split(", ")}),
        "form",
        (f"it has {FORMS}",),
    ),
    # What a form holds.
    *(
        (f"{name} of {told}", form(name, told), "form", (f"{name} must be a list of objects",))
        for name in ("dataframe_records", "inputs", "instances")
        for told in ("null", "987654", '"SECRET"', "true", text(VALUES), text([VALUES]))
    ),
    *(
        (f"a row of {told}", records(ROW, told), "form", ("list of objects, one per row",))
        for told in ("null", "987654", '"SECRET"', "[]", text(VALUES), f"[{ROW}]", "true")
    ),
    ("records as an object", form("dataframe_records", ROW), "form", ("list of objects",)),
    ("records in records", form("dataframe_records", BODY), "form", ("list of objects",)),
    # Columns of a row.
    ("an empty row", records("{}"), "columns", ("column 'Pregnancies' is missing", EXPECTED)),
    (
        "a column left out",
        records(text({name: PATIENT[name] for name in NAMES if name != "BMI"})),
        "columns",
        ("row 1: column 'BMI' is missing", EXPECTED),
    ),
    (
        "a column left out in the second row",
        records(ROW, text({name: PATIENT[name] for name in NAMES if name != "BMI"})),
        "columns",
        ("row 2: column 'BMI' is missing",),
    ),
    (
        "a column too many",
        records(row(SECRET="987654")),
        "columns",
        ("row 1: column number 9 is not known", EXPECTED),
    ),
    (
        "another column in the second row",
        records(ROW, row(SECRET="null")),
        "columns",
        ("row 2: column number 9 is not known",),
    ),
    (
        "a misspelt column",
        records(ROW.replace("Glucose", "Glucos")),
        "columns",
        ("column number 2 is not known, did you mean 'Glucose'?", "column 'Glucose' is missing"),
    ),
    ("a column in small letters", records(ROW.replace("Age", "age")), "columns", ("'Age'",)),
    ("a column with a space", records(ROW.replace("Age", "Age ")), "columns", ("'Age'",)),
    ("an empty name", records(ROW.replace('"Age"', '""')), "columns", ("number 8 is not known",)),
    ("the target among the columns", records(row(Outcome="1")), "columns", ("number 9",)),
    (
        "a name of 100,000 letters",
        records(ROW.replace("Age", "SECRET" * 16_000)),
        "columns",
        ("column number 8 is not known", "column 'Age' is missing"),
    ),
    (
        "many unknown columns",
        records(text({f"SECRET{place}": 987654 for place in range(5000)})),
        "columns",
        ("and more faults after these", EXPECTED),
    ),
    # Keys twice, on every level.
    *(
        (f"twice {name}", body, "duplicate_key", ("an object of the body has a key twice",))
        for name, body in {
            "a form": f'{{"inputs": [], "inputs": [{ROW}]}}',
            "a form, escaped": f'{{"\\u0069nputs": [], "inputs": [{ROW}]}}',
            "the params": f'{{"params": {{}}, "params": {{}}, "inputs": [{ROW}]}}',
            "the params, null at last": f'{{"params": {{}}, "params": null, "inputs": [{ROW}]}}',
            "a param": asked('{"version": true, "version": false}'),
            "a param, escaped": asked('{"version": true, "versio\\u006e": true}'),
            "a column": records(ROW[:-1] + ', "Age": 50}'),
            "a column, first": records('{"Age": 987654, ' + ROW[1:]),
            "a column, escaped": records(ROW[:-1] + ', "\\u0041ge": 50}'),
            "a column in the second row": records(ROW, ROW[:-1] + ', "Age": 50}'),
            "a column instead of another": records(ROW.replace("BMI", "Age")),
            "a key in a cell": records(row(Age='{"SECRET": 1, "SECRET": 2}')),
            "a column alone": form("inputs", ROW[:-1] + ', "Age": 50}'),
            "a column as a list": form(
                "inputs",
                text({name: [value] for name, value in PATIENT.items()})[:-1] + ', "Age": [50]}',
            ),
            "the data": split(more=f', "data": {text([VALUES])}'),
            "the columns": split(more=f', "columns": {text(NAMES)}'),
        }.items()
    ),
    # A split table.
    *(
        (
            f"dataframe_split of {told}",
            form("dataframe_split", told),
            "form",
            ("must hold columns",),
        )
        for told in (
            *("null", "987654", '"SECRET"', "[]", "{}", f"[{ROW}]", ROW),
            *(f'{{"columns": {text(NAMES)}}}', f'{{"data": {text([VALUES])}}}'),
        )
    ),
    ("a split table with another key", split(more=', "SECRET": []'), "form", ("may hold index",)),
    *(
        (f"columns {told}", split(columns=told), "form", ("columns must be a list of names",))
        for told in (
            *("null", "987654", '"SECRET"', "{}", text(dict.fromkeys(NAMES, 1))),
            *(text([*NAMES[:-1], None]), text([*NAMES[:-1], 987654]), text([NAMES]), "[true]"),
        )
    ),
    *(
        (f"data {told}", split(data=told), "form", ("data must be a list of lists, one per row",))
        for told in (
            *("null", "987654", '"SECRET"', "{}", f"[{ROW}]", text(VALUES), "[null]"),
            *('["SECRET"]', text([VALUES, None]), text({"0": VALUES})),
        )
    ),
    ("a row of no cells", split(data="[[]]"), "ragged", ("row 1 has 0 cells for 8 columns",)),
    (
        "a cell too many",
        split(data=text([VALUES, [*VALUES, 987654]])),
        "ragged",
        ("row 2 has 9 cells for 8 columns",),
    ),
    (
        "a cell too few",
        split(data=text([VALUES[:-1]])),
        "ragged",
        ("row 1 has 7 cells for 8 columns",),
    ),
    (
        "no columns",
        split(columns="[]"),
        "columns",
        ("column 'Pregnancies' is missing", EXPECTED),
    ),
    (
        "a column's name twice",
        split(columns=text([*NAMES[:-1], "BMI"])),
        "columns",
        ("column 'BMI' is there twice", "column 'Age' is missing"),
    ),
    (
        "an unknown name twice",
        split(columns=text([*NAMES, "SECRET", "SECRET"])),
        "columns",
        ("column number 9 is there twice",),
    ),
    (
        "an unknown name",
        split(columns=text([*NAMES[:-1], "SECRET"])),
        "columns",
        ("column number 8 is not known", "column 'Age' is missing"),
    ),
    *(
        (f"an index {told}", split(more=f', "index": {told}'), "index", ("one entry per row",))
        for told in ("[]", '[0, "SECRET"]', "987654", '"SECRET"', '{"0": 0}', "true")
    ),
    # Columns.
    *(
        (f"{name} {fault}", form(name, text(told)), rule, (words,))
        for name in ("inputs", "instances")
        for fault, told, rule, words in (
            ("of none", {}, "columns", "column 'Pregnancies' is missing"),
            (
                "of unequal length",
                {column: [value] * (1 + (column == "Age")) for column, value in PATIENT.items()},
                "ragged",
                f"the columns in {name} must be of one length",
            ),
            (
                "of unequal length, one of none",
                {column: [value] * (column != "Age") for column, value in PATIENT.items()},
                "ragged",
                "must be of one length",
            ),
            (
                "of lists and values",
                {**{column: [value] for column, value in PATIENT.items()}, "Age": 987654},
                "form",
                f"{name} must hold a list per column, or one value per column",
            ),
            (
                "of an unknown column",
                {**{column: [value] for column, value in PATIENT.items()}, "SECRET": [987654]},
                "columns",
                "column number 9 is not known",
            ),
            (
                "without a column",
                {column: [value] for column, value in PATIENT.items() if column != "Age"},
                "columns",
                "column 'Age' is missing",
            ),
            (
                "of lists of lists",
                {column: [[value]] for column, value in PATIENT.items()},
                "type",
                "row 1, Age: must be a number",
            ),
        )
    ),
    # Params.
    *(
        (f"the params {told}", asked(told), "params", ("params must be an object",))
        for told in ("[]", "987654", '"SECRET"', "true", "false", "0", "[{}]")
    ),
    *(
        (f"params.{told}", asked(f"{{{told}}}"), "params", (words,))
        for told, words in {
            '"SECRET": 987654': "params may hold threshold, version, explain only",
            '"Threshold": 0.5': "params may hold threshold, version, explain only",
            '"": 0.5': "params may hold threshold, version, explain only",
            '"threshold": true': "params.threshold must be a number",
            '"threshold": "0.5"': "params.threshold must be a number",
            '"threshold": "SECRET"': "params.threshold must be a number",
            '"threshold": [0.5]': "params.threshold must be a number",
            '"threshold": {"SECRET": 1}': "params.threshold must be a number",
            '"threshold": -1': "params.threshold must be between 0 and 1",
            '"threshold": -1e-300': "params.threshold must be between 0 and 1",
            '"threshold": 1.0000001': "params.threshold must be between 0 and 1",
            '"threshold": 987654': "params.threshold must be between 0 and 1",
            '"version": "yes"': "params.version must be true or false",
            '"version": 1': "params.version must be true or false",
            '"explain": "yes"': "params.explain must be true or false",
            '"explain": 0': "params.explain must be true or false",
            '"explain": [true]': "params.explain must be true or false",
            '"version": true, "SECRET": true': "params may hold threshold, version, explain only",
        }.items()
    ),
    (
        "more rows explained than may be",
        text({"params": {"explain": True}, "dataframe_records": [PATIENT] * 101}),
        "params",
        ("params.explain takes at most 100 rows",),
    ),
    # Deep, but not too deep for the first parser; for the second it depends on the caller's stack.
    (
        "lists in a cell, just not too deep",
        records(row(Age="[" * 1000 + "]" * 1000)),
        "json|type",
        (),
    ),
    (
        "objects in a cell, just not too deep",
        records(row(Age='{"a":' * 1000 + "1" + "}" * 1000)),
        "json|type",
        (),
    ),
    ("lists in a cell, and not deep", records(row(Age="[[[[987654]]]]")), "type", ("row 1, Age",)),
    # Several faults.
    (
        "more faults than are told",
        records(*[row(Glucose="987654", Age='"SECRET"')] * 20),
        "type",
        ("row 1, Age: must be a number", "row 1, Glucose: must be", "and more faults after these"),
    ),
]

# The range of every column. (name, body, rule, words)

RANGES = [
    (f"{name} {word} than may be", records(row(**{name: text(cell)})), "range", (told,))
    for name, column in CONTRACT.columns.items()
    for word, cell, told in (
        ("less", column.range[0] - 0.4987654, f"row 1, {name}: must be at least "),
        ("more", column.range[1] + 0.4987654, f"row 1, {name}: must be at most "),
    )
]

# CSV. (name, body, rule, words)

OTHER_CSV = [
    ("nothing", b"", "csv", ("not CSV with a header and commas",)),
    ("one line break", b"\n", "csv|columns", ()),
    ("line breaks", b"\r\n\r\n\r\n", "csv|columns", ()),
    ("a word", b"SECRET\n987654\n", "columns", ("column number 1 is not known", EXPECTED)),
    ("JSON", BODY.encode(), "csv|columns", ()),
    ("no header", (LINE + "\n").encode() * 2, "columns", ("column number 1 is not known",)),
    ("no header, and a lone value", b"987654\n", "columns", (EXPECTED,)),
    ("the header twice", csv(HEADER, LINE), "type", ("row 1, Age: must be a number",)),
    (
        "an unknown column",
        csv(LINE + ",987654", header=HEADER + ",SECRET"),
        "columns",
        ("number 9",),
    ),
    (
        "a column twice",
        csv(LINE + ",50", header=HEADER + ",Age"),
        "columns",
        ("'Age' is there twice",),
    ),
    (
        "a column left out",
        csv("6,148", header="Pregnancies,Glucose"),
        "columns",
        ("'BMI' is missing",),
    ),
    (
        "a misspelt column",
        csv(LINE, header=HEADER.replace("BMI", "BMJ")),
        "columns",
        ("mean 'BMI'?",),
    ),
    ("a header in small letters", csv(LINE, header=HEADER.lower()), "columns", ("number 1",)),
    ("spaces in the header", csv(LINE, header=HEADER.replace(",", ", ")), "columns", ("number 2",)),
    ("an index without a name", csv("0," + LINE, header="," + HEADER), "columns", ("number 1",)),
    ("semicolons", csv(LINE).replace(b",", b";"), "columns", ("column number 1 is not known",)),
    ("tabs", csv(LINE).replace(b",", b"\t"), "columns", ("column number 1 is not known",)),
    ("a comment first", b"# SECRET\n" + csv(LINE), "ragged", ("line 2 has 8 cells for 1",)),
    ("a cell too few", csv(LINE, LINE[:-3]), "ragged", ("line 3 has 7 cells for 8 columns",)),
    ("a cell too many", csv(LINE, LINE, LINE + ",987654"), "ragged", ("line 4 has 9 cells",)),
    ("a lone word", csv(LINE, "SECRET"), "ragged", ("line 3 has 1 cells for 8 columns",)),
    ("a decimal comma", csv(line(BMI="33,6")), "ragged", ("line 2 has 9 cells for 8 columns",)),
    *(
        (f"a quote that is astray: {cell!r}", csv(LINE, line(Glucose=cell)), "csv", ("a quote is",))
        for cell in ('148"', '"148', '"1"48', '1"4"8', '"148" ', ' "148"', '""148', '"1"4"8"', '"')
    ),
    ("a quote left open at the start", csv('"' + LINE), "csv", ("a quote is neither",)),
    ("a quote left open in a header", csv(LINE, header='"' + HEADER), "csv", ("a quote is",)),
    ("a name with more behind its quotes", csv(LINE, header=f'"{HEADER[:3]}"x'), "csv", ()),
    (
        "a line break in a name",
        csv(LINE, header=HEADER.replace("Age", '"A\nge"')),
        "columns",
        ("'Age'",),
    ),
    (
        "a carriage return in a name",
        csv(LINE, header=HEADER.replace("Age", "SEC\rRET")),
        "columns|csv|ragged",
        (),
    ),
    (
        "a name of 200,000 letters",
        csv(LINE, header=HEADER.replace("Age", "SECRET" * 33_334)),
        "columns|csv",
        (),
    ),
    ("a name of 2,000,000 letters", csv(LINE, header="SECRET" * 333_334), "csv", ("not CSV",)),
    ("a NUL in a name", csv(LINE, header=HEADER + "\x00"), "columns", ("column number 8",)),
    ("bytes that are no UTF-8", csv(LINE) + b"\xff\xfe987654\n", "csv", ("not in UTF-8",)),
    (
        "Latin-1 in the header",
        csv(LINE, header=HEADER + ",µ").decode().encode("latin-1"),
        "csv",
        ("UTF-8",),
    ),
    ("UTF-16", csv(LINE).decode().encode("utf-16"), "csv", ("not in UTF-8",)),
    ("UTF-16 without a mark", csv(LINE).decode().encode("utf-16-le"), "columns|csv|ragged", ()),
    *(
        (
            f"the cell {cell!r:.20}",
            csv(LINE, line(Glucose=cell)),
            rule,
            (f"row 2, Glucose: {told}",),
        )
        for cells, rule, told in (
            (
                ("SECRET", "true", "NULL", "null", "None", "N/A", "-", ".", "''"),
                "type",
                "must be a n",
            ),
            (
                ("nan", "NaN", "-nan", "nan(1)", "0x94", "1_48", "148d", "٣"),
                "type",
                "must be a number",
            ),
            (
                (" 148", "148 ", "\t148", "148\x00", "148%", "1e", "--1", '""', '" 148"'),
                "type",
                "must be a n",
            ),
            (("2020-01-01", "12:30", "148\x0c", "1 48", "148€"), "type", "must be a number"),
            (
                ("+148", "148.", ".148e3", "0148", "1e+-2", "inf", "-inf"),
                "type",
                "must be a number",
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
            csv(told, header="\ufeff" + HEADER),
            *rule,
        )
        for cell, told, rule in (
            (
                "a text",
                line(Pregnancies="SECRET"),
                ("type", ("row 1, Pregnancies: must be a num",)),
            ),
            ("true", line(Pregnancies="true"), ("type", ("row 1, Pregnancies: must be a number",))),
            (
                "a date",
                line(Pregnancies="2020-01-01"),
                ("type", ("row 1, Pregnancies: must be a n",)),
            ),
            (
                "a time",
                line(Pregnancies="12:30:00"),
                ("type", ("row 1, Pregnancies: must be a nu",)),
            ),
            ("a number too large", line(Pregnancies="987654"), ("range", ("at most 25 count",))),
        )
    ),
]

# Parquet. (name, body, status, rule, words)

WHOLE = parquet()
NOT_WHOLE = "the body is not a whole Parquet file"
OTHER_PARQUET = [
    *(
        (name, body, 400, "parquet", (NOT_WHOLE,))
        for name, body in {
            "nothing": b"",
            "the magic alone": b"PAR1",
            "nothing between the magic": b"PAR1PAR1",
            "garbage": b"SECRET" * 100,
            "garbage between the magic": b"PAR1" + b"SECRET" * 100 + b"PAR1",
            "CSV": csv(LINE),
            "JSON": BODY.encode(),
            "a file cut short": WHOLE[:-20],
            "a file cut in half": WHOLE[: len(WHOLE) // 2],
            "a file without its start": WHOLE[40:],
            "a footer longer than the file": WHOLE[:-8] + b"\xff\xff\xff\x7fPAR1",
            "an encrypted footer": WHOLE[:-4] + b"PARE",
            "a name that is no UTF-8": WHOLE.replace(b"Glucose", b"Glucos\xff"),
        }.items()
    ),
    *(
        (
            f"a column of {name}",
            parquet(BMI=cells),
            400,
            "type",
            ("'BMI' must be of integers or floats",),
        )
        for name, cells in {
            "texts": ["SECRET", "987654"],
            "booleans": [True, False],
            "lists": [[33.6], [987654.0]],
            "objects": [{"SECRET": 1}, {"SECRET": 2}],
            "dates": [datetime.date(2020, 1, 1)] * 2,
            "times": [datetime.datetime(2020, 1, 1)] * 2,
            "durations": [datetime.timedelta(1)] * 2,
            "decimals": [Decimal("33.6")] * 2,
            "bytes": [b"SECRET", b"987654"],
            "categories": pa.array(["SECRET", "987654"]).dictionary_encode(),
        }.items()
    ),
    ("no columns", parquet(pa.table({})), 400, "columns", (EXPECTED,)),
    ("an unknown column", parquet(SECRET=[987654, 1]), 400, "columns", ("column number 9 is not",)),
    ("pandas's index by a name", parquet(__index__=[0, 1]), 400, "columns", ("column number 9",)),
    (
        "a column left out",
        parquet(pa.table({name: [value] for name, value in PATIENT.items() if name != "BMI"})),
        400,
        "columns",
        ("column 'BMI' is missing", EXPECTED),
    ),
    (
        "a column twice",
        parquet(pa.Table.from_arrays([pa.array([1])] * 9, names=[*NAMES, "Age"])),
        400,
        "columns",
        ("column 'Age' is there twice",),
    ),
    ("NaN", parquet(BMI=[33.6, float("nan")]), 400, "type", ("row 2, BMI: must be a number",)),
    ("infinity", parquet(BMI=[33.6, float("inf")]), 400, "finite", ("row 2, BMI: must be finite",)),
    (
        "a number too large",
        parquet(BMI=[33.6, 987654.0]),
        400,
        "range",
        ("row 2, BMI: must be at m",),
    ),
    ("64 bits", parquet(Age=pa.array([1, 2**64 - 1], pa.uint64())), 400, "range", ("row 2, Age",)),
    (
        "more rows than may be",
        parquet(rows=MOST_ROWS + 1),
        413,
        "rows",
        (f"more than {MOST_ROWS} rows",),
    ),
    (
        "millions of rows in a few bytes",
        parquet(pa.table({name: pa.nulls(4_000_000, pa.int8()) for name in NAMES})),
        413,
        "rows",
        (f"more than {MOST_ROWS} rows",),
    ),
    (
        "two cells of millions of bytes",
        parquet(BMI=["SECRET" * 500_000] * 2),
        413,
        "rows",
        ("far larger unpacked than its rows can be",),
    ),
]

# More rows than may be. (name, Content-Type, body)

NULLS = [None] * len(NAMES)
TOO_MANY_ROWS = [
    ("records", JSON, records(*["{}"] * (MOST_ROWS + 1)).encode()),
    ("a split table", JSON, split(data=text([NULLS] * (MOST_ROWS + 1))).encode()),
    (
        "a split table out of order",
        JSON,
        split(text(NAMES[::-1]), text([[]] * (MOST_ROWS + 1))).encode(),
    ),
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
            *("application/x-ndjson", "application/octet-stream", "application/parquet"),
            *("multipart/form-data; boundary=SECRET", "application/x-www-form-urlencoded"),
            *("application/json; charset=latin-1", "application/json; charset=utf-16"),
            *(
                "application/json; charset=SECRET",
                "application/json; charset=",
                "text/csv; charset",
            ),
            *(
                "application/json; charset=utf-8; charset=latin-1",
                "application/json; SECRET=987654",
            ),
            *("text/csv; header=present", "text/csv; charset=utf-8; header=absent"),
            *("application/json; profile=SECRET", 'application/json; charset="utf-8" SECRET'),
            "application/json charset=utf-8",
        )
    ),
]


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


_ALL = [
    *(
        (f"no JSON: {name}", JSON, _bytes(body), 400, "json", ("the body is not valid JSON: ",))
        for name, body in NO_JSON
    ),
    *(
        (f"JSON: {name} {place}", JSON, _bytes(body(cell)), 400, rule, (f"row 1, Glucose: {told}",))
        for name, cell, rule, told in CELLS
        for place, body in IN_FORMS.items()
    ),
    *(
        (f"JSON: {name}", JSON, _bytes(body), 400, rule, words)
        for name, body, rule, words in (*OTHER_JSON, *RANGES)
    ),
    *((f"CSV: {name}", CSV, body, 400, rule, words) for name, body, rule, words in OTHER_CSV),
    *((f"Parquet: {name}", PARQUET, *rest) for name, *rest in OTHER_PARQUET),
    *(
        (f"too many rows: {name}", kind, body, 413, "rows", (f"{MOST_ROWS}", "rows"))
        for name, kind, body in TOO_MANY_ROWS
    ),
    *(
        (name, kind, BODY.encode(), 415, "content_type", ("the header Content-Type ",))
        for name, kind in TYPES
    ),
]
MALFORMED = [Case(*case) for case in _ALL]
