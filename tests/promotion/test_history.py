import re

import pytest
from markdown_it import MarkdownIt

from pipeline.promotion.history import as_markdown, as_text, table
from tests.support.builders import make_event

FIRST = make_event("1", None, metrics={"cv/log_loss": 0.6}, why="best of 1", run_id="e" * 32)
SECOND = make_event("2", "1", at="2026-03-02T10:00:00.000Z", model_id="m-2")
BACK = make_event(
    "1", "2", action="rolled back", at="2026-03-03T11:59:59.999Z", by="Bob", why="it was slow"
)
FOUND = make_event(None, "1", action="found", by="", why="", run_id="", model_id="", metrics={})
LINE = (FIRST, SECOND, BACK, FOUND)


def cells(page: str) -> list[list[str]]:
    """Of the rows of the only table of a page, as a browser would show them."""
    text = MarkdownIt("commonmark").enable("table").render(page)
    assert text.count("<table>") == 1
    assert text.strip().endswith("</table>")
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    return [re.findall(r"<t[dh]>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]


# As a table.


def test_table_has_a_row_for_each_change_the_oldest_first():
    result = table(LINE)
    assert result["version"].tolist() == ["1", "2", "1", "none"]
    assert result["before"].tolist() == ["none", "1", "2", "1"]
    assert result["action"].tolist() == ["promoted", "promoted", "rolled back", "found"]
    assert result["at"].tolist() == [event.at for event in LINE]
    assert result["by"].tolist() == ["Ann", "Ann", "Bob", ""]
    assert result["why"].tolist() == [event.why for event in LINE]
    assert result["run"].tolist() == ["e" * 32, "f" * 32, "f" * 32, ""]
    assert result["model_id"].tolist() == ["m-1", "m-2", "m-1", ""]


def test_table_has_a_column_for_each_metric_of_any_champion():
    result = table((FIRST, make_event(metrics={"test/roc_auc": 0.8, "cv/brier": 0.2})))
    assert result.columns[8:].tolist() == ["cv/brier", "cv/log_loss", "test/roc_auc"]
    assert result["cv/log_loss"].isna().tolist() == [False, True]
    assert result.loc[1, ["test/roc_auc", "cv/brier"]].tolist() == [0.8, 0.2]


# For a terminal.


def test_text_tells_who_became_champion_when_after_whom_and_why():
    assert as_text((SECOND,)) == (
        "2026-03-02 10:00  version 2  promoted by Ann, after version 1\n"
        "    cv/log_loss 0.5000, test/log_loss 0.5124, test/roc_auc 0.8000\n"
        "    best of 2 by cv/log_loss 0.5000"
    )


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (FIRST, "2026-03-01 09:30  version 1  promoted by Ann"),
        (BACK, "2026-03-03 11:59  version 1  again, rolled back by Bob, after version 2"),
        (FOUND, "2026-03-01 09:30  version none  found, after version 1"),
        (make_event("7", None, action="found", by=""), "2026-03-01 09:30  version 7  found"),
    ],
)
def test_text_leaves_out_what_is_not_known(event, message):
    assert as_text((event,)).split("\n")[0] == message


def test_text_has_the_oldest_first_and_shows_few_metrics():
    result = as_text((FIRST, make_event(metrics={"cv/accuracy": 0.7, "test/roc_auc": 0.8})))
    assert result.index("version 1") < result.index("version 2")
    assert "cv/accuracy" not in result
    assert "test/roc_auc 0.8000" in result


def test_text_of_no_champions_is_empty():
    assert as_text(()) == ""


def test_text_of_a_reason_of_many_lines_stays_under_its_change():
    lines = as_text((make_event(why="row 1, Age: must be\nrow 2, Age: must be"),)).split("\n")
    assert all(line.startswith("    ") for line in lines[1:])


# For the UI.


def test_markdown_is_a_table_with_the_newest_first():
    head, *rows = cells(as_markdown(LINE))
    assert head == ["when (UTC)", "version", "", "by", "metrics", "why"]
    assert [row[:4] for row in rows] == [
        ["2026-03-01 09:30", "none", "found", ""],
        ["2026-03-03 11:59", "1", "rolled back", "Bob"],
        ["2026-03-02 10:00", "2", "promoted", "Ann"],
        ["2026-03-01 09:30", "1", "promoted", "Ann"],
    ]
    assert [row[5] for row in rows] == [
        "",
        "it was slow",
        "best of 2 by cv/log_loss 0.5000",
        "best of 1",
    ]


def test_markdown_shows_few_metrics():
    _, row = cells(as_markdown((SECOND,)))
    assert row[4].replace("<br>", "&lt;br&gt;").split("&lt;br&gt;") == [
        "cv/log_loss 0.5000",
        "test/log_loss 0.5124",
        "test/roc_auc 0.8000",
    ]


@pytest.mark.parametrize(
    "text",
    ["a | b", "||", "row 1, Age: must be\nrow 2, Age: must be", "one\n\ntwo", "a\r\nb", "\\|"],
    ids=repr,
)
@pytest.mark.parametrize("field", ["why", "by"])
def test_markdown_stays_a_table_whatever_people_write(field, text):
    result = cells(as_markdown((FIRST, make_event(**{field: text}), BACK)))
    assert [len(row) for row in result] == [6] * 4
