import pytest

from pipeline.reporting.markdown import filled, sections, shortened, spaced

PAGE = "# A model\n\nIt predicts.\n\n## Metrics\n\n| a |\n\n## Limits\n\nMany.\n"
MORE = "\n\nThe rest is elsewhere.\n"


@pytest.mark.parametrize(("most", "result"), [(3, "abc"), (5, "abc"), (2, "a…"), (1, "…")])
def test_text_that_is_too_long_ends_in_an_ellipsis(most, result):
    assert shortened("abc", most) == result


def test_page_that_fits_stays_whole():
    assert sections(PAGE, len(PAGE), MORE) == PAGE


def test_page_that_is_too_long_ends_before_a_section_and_says_where_the_rest_is():
    result = sections(PAGE, len(PAGE) - 1, MORE)
    assert result == "# A model\n\nIt predicts.\n" + MORE


@pytest.mark.parametrize("most", [30, 40, 50, 60])
def test_page_is_never_longer_than_asked_for(most):
    assert len(sections(PAGE, most, MORE)) <= most


def test_page_of_one_section_is_cut_where_it_must_be():
    assert sections("x" * 100, 40, MORE) == "x" * (40 - len(MORE)) + MORE


def test_page_has_room_between_the_cells_of_a_table_and_below_it():
    page = "| a | b |\n| --- | --- |\n| 1 \\| 2 | 3 |\n## Next"
    assert spaced(page).splitlines() == [
        "| a&emsp; | b |",
        "| --- | --- |",
        "| 1 \\| 2&emsp; | 3 |",
        "",
        "&nbsp;",
        "## Next",
    ]
    assert spaced(spaced(page)) == spaced(page)
    assert spaced("no | table\n## Next") == "no | table\n## Next"


def test_pieces_fill_lines_of_a_width():
    assert filled(["aaaa", "bbbb", "cccc"], 10, "  ") == "aaaa, bbbb,\n  cccc"
