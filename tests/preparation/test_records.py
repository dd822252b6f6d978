"""Records: how a text is cut into chunks changes nothing."""

import re
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.preparation.records import Records


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    text=st.text("ab\r\n", max_size=20),
    cuts=st.lists(st.integers(0, 20), max_size=4),
    kind=st.sampled_from(["line", "blank", "file", "none"]),
)
@example(text="\r\r\n\n", cuts=[], kind="blank")
@example(text="\n\r", cuts=[], kind="blank")
@example(text="a\n\n\r", cuts=[], kind="blank")
def test_records_do_not_depend_on_how_the_text_is_cut(text, cuts, kind):
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    records = Records(kind)
    pieces = [records.cut(text[a:b]) for a, b in pairwise(edges)]
    joined = "".join("|".join(piece) for piece in [*pieces, records.end()])
    assert joined == expected_records(text, kind)


def expected_records(text, kind):
    if kind == "none":
        return text
    if kind == "line":
        found = text.replace("\r\n", "\n").split("\n")
    elif kind == "blank":
        text = re.sub(r"(?:\r?\n)+\Z", "", re.sub(r"\A(?:\r?\n)+", "", text))
        found = re.split(r"\r?\n(?:\r?\n)+", text)
    else:
        found = [text]
    return "".join(record + "|" for record in found if record)
