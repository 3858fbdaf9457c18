import json
import re
import subprocess
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt

from pipeline.datasets.dataset import build_dataset
from pipeline.evaluation import bootstrap, metrics
from pipeline.promotion import card
from pipeline.promotion.record import Record
from pipeline.results import Count, Decision, RuleResult
from pipeline.schema.columns import NumberColumn
from pipeline.tasks import BINARY
from tests.support.builders import (
    COLUMNS,
    make_calibrated,
    make_candidate,
    make_config,
    make_dataset,
    make_evidence,
    make_predictions,
    make_table,
)

RULES = (
    RuleResult("gate.floors.accuracy", True, "test/accuracy 0.75 reaches gate.floors.accuracy 0.7"),
    RuleResult("gate.rule", None, "there is no champion to compare with"),
)
PNG = b"\x89PNG\r\n\x1a\n picture"


def make_record(dataset: Any = None, **changes: Any) -> Record:
    """Version 2 was promoted after version 1."""
    record = Record(
        config=make_config(),
        dataset=make_dataset() if dataset is None else dataset,
        evidence=make_evidence(make_calibrated(rows=36)),
        decision=Decision(make_candidate(loss=0.51236), "best of 3 by cv", RULES, "better"),
        version="2",
        champion="1",
        evaluated=Count(3),
        reason="",
        by="Ann",
        at="2026-03-01T09:30:15.123Z",
    )
    return replace(record, **changes)


def page(record: Record | None = None, **weights: float) -> str:
    return card.card(record or make_record(), weights)


def ruled(*rules: RuleResult) -> Record:
    return make_record(decision=Decision(make_candidate(), "best of 1", rules, "first"))


def rendered(text: str) -> str:
    return MarkdownIt("commonmark", {"html": False}).enable("table").render(text)


def tables(text: str) -> list[list[list[str]]]:
    """Of a page, as a browser would show them: tables of rows of cells."""
    return [
        [
            re.findall(r"<t[dh]>(.*?)</t[dh]>", row, re.DOTALL)
            for row in re.findall(r"<tr>(.*?)</tr>", one, re.DOTALL)
        ]
        for one in re.findall(r"<table>(.*?)</table>", rendered(text), re.DOTALL)
    ]


def items(text: str) -> list[str]:
    return re.findall(r"<li>(.*?)</li>", rendered(text), re.DOTALL)


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


# The page.


@pytest.mark.parametrize("reason", ["", "it is faster", "one\n\n## two", "| a | b |"], ids=repr)
def test_page_has_its_sections_whatever_the_reason(reason):
    titles = re.findall(r"<h(\d)>(.*?)</h\1>", rendered(page(make_record(reason=reason))))
    assert titles == [
        ("1", "people version 2"),
        ("2", "Metrics on the 36 test rows"),
        ("2", "The gate"),
        ("2", "Data"),
        ("2", "Procedure"),
        ("2", "Limits"),
        ("2", "How to call it"),
    ]


@pytest.mark.parametrize(
    ("labels", "positive", "predicted"),
    [
        *(((0, 1), label, f"the probability of `{label}`") for label in (0, 1)),
        ((False, True), False, "the probability of `False`"),
        (("no", "yes"), "no", "the probability of `no`"),
        (("a", "b", "c"), None, "a probability for each of a, b, c"),
    ],
)
def test_page_says_what_is_predicted_and_the_shares_of_its_classes(labels, positive, predicted):
    dataset = make_dataset(labels, positive)
    evidence = make_evidence(make_predictions(len(labels), rows=len(dataset.X_test), positive=1))
    text = page(make_record(dataset, evidence=evidence, config=make_config(positive=positive)))
    assert f"Predicts `label` ({predicted}) from 4 columns of the table `people`." in text
    shares = [f"`{label}` {(dataset.y_train == label).mean():.1%}" for label in labels]
    assert f"classes in the training part: {', '.join(shares)}." in text


@pytest.mark.parametrize("claim", card.CLAIMS)
def test_page_makes_the_claim_of_the_decision_and_no_other(claim):
    text = page(make_record(decision=Decision(make_candidate(), "chosen", RULES, claim)))
    assert [one for one in card.CLAIMS.values() if one in text] == [card.CLAIMS[claim]]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {},
            "**Promoted** on 2026-03-01T09:30:15.123Z by Ann; the champion until then was "
            "version 1. It is better than that champion on the same rows.\n",
        ),
        ({"champion": None}, "**Promoted** on 2026-03-01T09:30:15.123Z by Ann. It is better"),
        ({"reason": "it is faster"}, "on the same rows. Reason given: it is faster\n"),
    ],
)
def test_page_tells_who_decided_when_and_why(changes, text):
    assert text in page(make_record(**changes))


def test_page_of_a_candidate_that_was_not_promoted_says_so():
    text = page(ruled(RuleResult("gate.rule", False, "it may be worse")))
    assert "**Kept out** on" in text
    assert "; version 1 stays champion. " in text
    assert not re.search("Promoted|until then", text)


# Metrics.


def test_metrics_have_their_interval_and_what_the_class_shares_reach():
    record = make_record()
    sample, dummy = record.evidence.predictions, record.evidence.dummy
    measured, _ = tables(page(record))
    assert measured[0] == ["metric", "value", "95 % interval", "class shares alone"]
    assert [row[0] for row in measured[1:]] == list(BINARY.metrics)
    intervals = bootstrap.intervals(sample, 100, 0)
    for name, value, interval, alone in measured[1:]:
        low, high = intervals[name]
        assert value == f"{metrics.value(name, sample):.3f}"
        assert interval == f"{low:.3f} to {high:.3f}"
        assert alone == f"{metrics.value(name, dummy):.3f}"


# The gate.


@pytest.mark.parametrize(
    ("passed", "text"),
    [(True, "passed"), (None, "not judged"), (False, "<strong>failed</strong>")],
)
def test_rule_is_told_with_what_came_of_it(passed, text):
    record = ruled(RuleResult("gate.dummy", passed, "test/log_loss 0.5 and 0.7"))
    assert tables(page(record))[1][1:] == [["gate.dummy", text, "test/log_loss 0.5 and 0.7"]]


@pytest.mark.parametrize(
    ("sentence", "cell"),
    [
        ("where a | b < 3", "where a | b &lt; 3"),
        ("where <b>x</b> < 3", "where &lt;b&gt;x&lt;/b&gt; &lt; 3"),
        ("row 1, Age: must be a number\nrow 2, Age: must be a number", None),
        ("one\n\n## two", None),
        ("one\r\ntwo", None),
        ("word " * 100, None),
        ("x" * 500, None),
        ("|" * 400, None),
    ],
    ids=lambda text: repr(text)[:20],
)
def test_rules_stay_a_table_whatever_they_tell(sentence, cell):
    """Why two models cannot be compared may be a fault for each of ten rows."""
    better = RuleResult("gate.dummy", True, "it is better")
    text = page(ruled(better, RuleResult("gate.rule", False, sentence), better))
    assert re.findall(r"<h2>(.*?)</h2>", rendered(text))[1:3] == ["The gate", "Data"]
    _, gate = tables(text)
    assert [len(row) for row in gate] == [3] * 4
    assert gate[2][0] == "gate.rule"
    if cell:
        assert gate[2][2] == cell


def test_sentence_of_usual_length_is_told_in_full():
    sentence = (
        "average_precision 0.7124 against 0.7000 of version 123 on the same 100000 rows, gain "
        "+0.0124, at least -0.0124 (95% confidence): may be worse by more than gate.margin 0.0125"
    )
    assert sentence in page(ruled(RuleResult("gate.rule", False, sentence)))


# Data and procedure.


def test_data_are_told_with_source_digests_and_rows():
    record = make_record()
    text = section(page(record), "Data")
    assert "`folder/people.csv`, sha256 `0000000000000000`: 84 rows to train on, 36 to test on" in (
        text
    )
    assert f"(split `{record.dataset.split_digest[:16]}`)" in text


def test_columns_are_told_with_meaning_range_and_unit():
    assert items(section(page(), "Data")) == [
        "<code>height</code> cm",
        "<code>gap</code>: a quarter of it is missing",
        "<code>noise</code>",
        "<code>flag</code>, 0 to 1",
    ]


def with_columns(columns: dict[str, NumberColumn]) -> Record:
    """A record of a table with those columns."""
    rng = np.random.default_rng(0)
    table = make_table()[["label"]].assign(**{name: rng.uniform(0, 1, 120) for name in columns})
    config = make_config(columns=columns)
    return make_record(build_dataset(config, table, "0" * 64), config=config)


@pytest.mark.parametrize(
    ("column", "item"),
    [
        (NumberColumn(range=(0, None), unit="cm"), "<code>x</code>, at least 0 cm"),
        (NumberColumn(range=(None, 2.5)), "<code>x</code>, at most 2.5"),
        (
            NumberColumn(meaning="how tall", range=(-3, 100000)),
            "<code>x</code>: how tall, -3 to 100000",
        ),
        (NumberColumn(meaning="<script>"), "<code>x</code>: &lt;script&gt;"),
        (NumberColumn(meaning="first line\nsecond line"), None),
        (NumberColumn(meaning="first part\n\nsecond part\n\n- third"), None),
    ],
)
def test_column_is_one_item(column, item):
    listed = items(section(page(with_columns({"x": column, "y": NumberColumn()})), "Data"))
    assert len(listed) == 2
    assert listed[0] == item or item is None


@pytest.mark.parametrize("count", [1, 20, 21, 50])
def test_many_columns_are_counted_after_the_first_twenty(count):
    record = with_columns({f"x{number}": NumberColumn() for number in range(count)})
    listed = items(section(page(record), "Data"))
    assert listed[:20] == [f"<code>x{number}</code>" for number in range(min(count, 20))]
    assert listed[20:] == ([f"and {count - 20} more"] if count > 20 else [])


def test_procedure_tells_choice_blend_threshold_and_cross_validation():
    evidence = make_evidence(replace(make_calibrated(rows=36), threshold=0.31236))
    text = section(
        page(make_record(evidence=evidence), svc=0.756, mlp=0.0, extra_trees=0.244), "Procedure"
    )
    assert text.strip() == (
        "Best of 3 by cv. A blend of svc 76%, extra_trees 24%. `1` is predicted from a probability "
        "of 0.312. Chosen by cross-validation on the training part: cv/log_loss 0.5124."
    )


def test_procedure_leaves_out_weights_and_threshold_that_are_not_known():
    evidence = make_evidence(replace(make_calibrated(rows=36), threshold=None))
    text = section(page(make_record(evidence=evidence)), "Procedure")
    assert "blend" not in text
    assert "predicted from" not in text


def test_procedure_tells_the_primary_metric_of_the_gate():
    decision = Decision(make_candidate(cv__roc_auc=0.83456), "chosen", RULES, "first")
    config = make_config(gate={"primary": "roc_auc"})
    text = section(page(make_record(config=config, decision=decision)), "Procedure")
    assert "cv/roc_auc 0.8346." in text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (Count(1), "judged 1 model;"),
        (Count(2), "judged 2 models;"),
        (Count(100, is_all=False), "judged at least 100 models;"),
    ],
)
def test_limits_tell_how_many_models_the_test_part_has_judged(count, text):
    assert text in section(page(make_record(evaluated=count)), "Limits")


# How to call it.


SHELL = """
python() { printf '%s\\0' python "$@"; }
curl() { printf '%s\\0' curl "$@"; }
"""


def commands(text: str) -> list[list[str]]:
    """The words of each command, as a shell hands them on."""
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [
        subprocess.run(["sh", "-c", SHELL + line], capture_output=True, check=True, env={})
        .stdout.decode()
        .split("\0")[:-1]
        for line in re.split(r"\n(?=curl )", block.strip())
    ]


@pytest.mark.parametrize("name", ["height", "patient's age", 'a "b" c', "größe", "a`b", "$HOME"])
def test_example_is_a_request_that_a_shell_hands_on(name):
    columns = {name: NumberColumn(), "flag": NumberColumn(range=(0.0, 1.0))}
    record = with_columns(columns)
    _, curl = commands(page(record))
    (row,) = json.loads(curl[-1])["dataframe_records"]
    assert row == record.dataset.X_train.iloc[0].to_dict()


@pytest.mark.parametrize("model", ["people", "two words", "$HOME", "a;b", "größe_1"])
def test_server_is_started_with_the_version_by_a_command_that_a_shell_hands_on(model):
    config = make_config()
    registry = config.registry.model_copy(update={"model": model})
    start, _ = commands(page(make_record(config=config.model_copy(update={"registry": registry}))))
    assert start == [
        *("python", "-m", "pipeline", "serve"),
        *("--registry.model", model, "--serve.version", "2"),
    ]


def test_example_is_a_row_without_gaps_if_there_is_one():
    dataset = make_dataset()
    for gap in (np.nan, 0.5):  # of the first row
        X_train = dataset.X_train.copy()
        X_train.iloc[0, 1] = gap
        _, curl = commands(page(make_record(replace(dataset, X_train=X_train))))
        (row,) = json.loads(curl[-1])["dataframe_records"]
        assert list(row.values()) == X_train.dropna().iloc[0].tolist()


def test_example_has_null_where_every_row_has_gaps():
    dataset = make_dataset()
    dataset = replace(dataset, X_train=dataset.X_train.assign(gap=np.nan))
    _, curl = commands(page(make_record(dataset)))
    (row,) = json.loads(curl[-1])["dataframe_records"]
    assert row["gap"] is None
    assert set(row) == set(COLUMNS)


# One file.


def test_html_has_the_picture_in_it():
    text = card.html(page(), {"curves.png": PNG})
    assert 'src="data:image/png;base64,iVBORw0KGgogcGljdHVyZQ=="' in text
    assert "curves.png" not in text
    assert 'alt="ROC and calibration"' in text


def test_html_is_the_page():
    text = card.html(page(), {})
    assert text.startswith("<!doctype html><meta charset=utf-8><style>")
    assert text.count("<table>") == 2
    assert "<h1>people version 2</h1>" in text


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "![x](javascript:alert(1))",
    ],
)
@pytest.mark.parametrize("place", ["reason", "by", "sentence", "meaning"])
def test_html_runs_nothing_that_people_wrote(place, text):
    if place == "sentence":
        record = ruled(RuleResult("gate.rule", False, text))
    elif place == "meaning":
        record = with_columns({"x": NumberColumn(meaning=text)})
    else:
        record = make_record(**{place: text})
    html = card.html(page(record), {})
    assert "<script" not in html
    assert not re.search(r"<[^>]*(onerror|javascript)", html)
    assert "alert(1)" in html


def test_classes_have_their_names_beside_them():
    text = page(make_record(replace(make_dataset(), labels={0: "healthy", 1: "ill"})))
    assert "(the probability of `1` (ill))" in text
    assert "`0` (healthy) 50.0%, `1` (ill) 50.0%" in text
