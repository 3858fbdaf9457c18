"""Settings as the text of a config."""

import pytest
from ruamel.yaml import YAML

from pipeline.config.load import load
from pipeline.config.paths import PROJECT
from pipeline.config.write import as_text, scalar

SHIPPED = sorted(path.name for path in (PROJECT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_config_is_read_as_it_was_written(tmp_path, name):
    config = load(f"configs/{name}", {})

    (tmp_path / "again.yaml").write_text(as_text(config), encoding="utf-8")

    assert load(str(tmp_path / "again.yaml"), {}) == config


@pytest.mark.parametrize(
    "value",
    [
        *("a", "two words", "yes", "No", "null", "~", "", "1", "01", "1e3", "0x1", "2024-01-31"),
        *("a: b", "# x", "[a", "{a}", "a, b", "'", '"', "\\", "é µ", "a\nb", "@x", "%d.%m.%Y", "-"),
        *(True, None, 3, 2.5, -0.5, 1e300, ["a", 1, None], {"a b": [1, "yes"], "no": {"x": ":"}}),
    ],
    ids=repr,
)
def test_value_in_one_line_is_read_back(value):
    assert YAML(typ="safe", pure=True).load(f"key: {scalar(value)}") == {"key": value}
    assert "\n" not in scalar(value)
