"""How symbols are called in lists and messages."""

import unicodedata


def code_point(character: str) -> str:
    """A character with its code point: `'é' (U+00E9)`."""
    return f"{_quoted(character)} (U+{ord(character):04X})"


def readable(piece: bytes) -> str:
    """A short name of a token: itself where it shows, quoted or in numbers where it does not."""
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError:
        return "0x" + piece.hex().upper()
    if len(text) == 1 and unicodedata.category(text).startswith("M"):
        return f"U+{ord(text):04X}"
    shows = text.isprintable() and text and not text.isspace() and " " not in text
    return text if shows else repr(text)


def _quoted(character: str) -> str:
    # A combining mark would sit on the quote before it; a dotted circle carries it.
    return f"'\u25cc{character}'" if unicodedata.combining(character) else repr(character)


def not_unicode(text: str, at: int) -> str:
    """The message for a text that has half a character, which no bytes stand for, at `at`."""
    code = ord(text[at])
    return f"the text is not Unicode (a lone surrogate U+{code:04X} at position {at})."
