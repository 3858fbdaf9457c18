import pytest

from pipeline.config.load import load
from pipeline.errors import ConfigError

CONFIG = "data: {source: a.csv, target: y, columns: {x: {}}}\nregistry: {model: m}\n"


@pytest.fixture
def read(tmp_path):
    """The section `data.csv` with overrides, as a command line gives them."""

    def read(**overrides):
        (tmp_path / "a.yaml").write_text(CONFIG)
        texts = {f"data.csv.{key}": text for key, text in overrides.items()}
        return load(str(tmp_path / "a.yaml"), texts).data.csv

    return read


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        *(("separator", text, text) for text in (";", ",", "|", " ", ":")),
        *(("separator", text, "\t") for text in ("tab", r"\t", "\t")),
        ("decimal", ",", ","),
        ("decimal", "null", None),
        ("encoding", "latin-1", "iso8859-1"),
        ("encoding", "UTF-16-LE", "utf-16-le"),
        ("comment", "#", "#"),
        ("comment", "", ""),
        ("quote", "'", "'"),
        ("quote", "", ""),
    ],
)
def test_marks_are_taken_as_they_are_typed(read, key, text, value):
    assert getattr(read(**{key: text}), key) == value


@pytest.mark.parametrize(
    ("key", "text", "rule"),
    [
        ("separator", "", "is not one character, such as ',' or ';', or tab"),
        ("separator", ";;", "is not one character, such as ',' or ';', or tab"),
        ("separator", '"', "is not one character, such as ',' or ';', or tab"),
        ("decimal", ";", "is not a decimal mark; choose '.' or ','"),
        ("encoding", "utf-9", "is no encoding of texts, such as utf-8 or cp1252"),
        ("encoding", "hex", "is no encoding of texts, such as utf-8 or cp1252"),
        ("quote", "''", "is not one character, nor empty"),
    ],
)
def test_other_values_are_refused_with_the_rule(read, key, text, rule):
    with pytest.raises(ConfigError) as error:
        read(**{key: text})
    assert f"data.csv.{key}: {text!r} {rule}" in str(error.value)
