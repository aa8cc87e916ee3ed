"""Small tables in HTML."""

from flowctx.core.html_tables import brief, table


def test_every_text_is_escaped_and_short():
    """What stands in a table cannot become markup, nor make it wide; nothing is shown for None."""
    html = table("<b>", ["<i>"], [["<u>" * 100], [None]])
    assert html.startswith("<table><caption>&lt;b&gt;</caption><thead><tr><th>&lt;i&gt;</th></tr></thead>")
    assert html.endswith("<tr><td></td></tr></tbody></table>")
    assert (html.count("&lt;u"), brief("x" * 200, 10)) == (40, "xxxxxxxxx…")
