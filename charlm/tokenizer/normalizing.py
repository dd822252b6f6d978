"""Unicode normal forms, as `tokenizers` makes them."""

import re
from functools import cache
from itertools import pairwise
from typing import Any

# Neither composes with what stands before it nor is reordered: a text may be cut before these.
_STARTER = re.compile("[\x00-\u02ff\u3400-\u9fff\uac00-\ud7a3]")
_LOOK_BACK = 1000  # characters searched at a time


def normalized(text: str, form: str) -> str:
    """`text` in the normal form "nfc" or "nfkc"; "none" leaves it alone."""
    if form == "none" or text.isascii():
        return text
    return _normalizer(form).normalize_str(text)


def clusters(text: str) -> list[str]:
    """The text in parts whose forms add up to that of the whole."""
    begins = [match.start() for match in _STARTER.finditer(text)]
    edges = [0, *begins, len(text)]
    return [text[begin:end] for begin, end in pairwise(edges) if end > begin]


def last_cut(text: str) -> int:
    """The last place in `text` where the forms of both sides add up to that of the whole."""
    end = len(text)
    while end:
        begin = max(0, end - _LOOK_BACK)
        places = [match.start() for match in _STARTER.finditer(text, begin, end)]
        if places:
            return places[-1]
        end = begin
    return 0


@cache
def _normalizer(form: str) -> Any:
    from tokenizers import normalizers

    return {"nfc": normalizers.NFC, "nfkc": normalizers.NFKC}[form]()
