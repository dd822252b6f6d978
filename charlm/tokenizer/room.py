"""How large a vocabulary may be: a model that has it must be one that charlm reads again."""

import json

from charlm.errors import DataError
from charlm.untrusted import LONGEST

OTHERS = 1 << 20  # bytes of a model's header beside the tokenizer: config, history, tensors
WIDEST = 4  # bytes that a character of the stored form takes there at most


def check_room(stored: str) -> None:
    """Raises DataError where a tokenizer's stored form is too long for a model's header.

    There it is a string in a JSON object that is itself a string.
    """
    if WIDEST * len(stored) + OTHERS <= LONGEST:
        return
    inner = json.dumps(stored, ensure_ascii=False)
    size_bytes = len(json.dumps(inner, ensure_ascii=False).encode("utf-8")) + OTHERS
    if size_bytes > LONGEST:
        raise DataError(
            f"the vocabulary takes {size_bytes / 1e6:,.0f} MB, and a model has room for"
            f" {LONGEST / 1e6:,.0f} MB of it; give a smaller --vocab-size or a larger --min-count."
        )
