"""Which texts a model can draw at all."""

from collections.abc import Collection

from charlm.errors import ConfigError
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.normalizing import normalized
from charlm.tokenizer.symbols import code_point

_BETWEEN = "\u0100"  # no byte of a piece, as latin-1 reads them


class Drawable:
    """The texts that may occur in what is drawn: those that tokens spell, cut off at both ends.

    `banned` ids spell nothing, and neither do the unknown token and the boundary.
    """

    def __init__(self, tokenizer: Tokenizer, banned: Collection[int] = ()) -> None:
        never = {*banned, tokenizer.unknown, tokenizer.boundary}
        self._normalize = tokenizer.normalize
        self._pieces = {
            piece.decode("latin-1")
            for id, piece in enumerate(tokenizer.pieces)
            if piece and id not in never
        }
        self._longest = max(map(len, self._pieces), default=0)
        self._all = _BETWEEN.join(["", *self._pieces, ""])

    def __contains__(self, text: str) -> bool:
        try:
            text = text.encode("utf-8", "surrogateescape").decode("latin-1")
        except UnicodeEncodeError:  # half a character
            return False
        if text in self._all:
            return True
        short = range(1, min(self._longest, len(text)) + 1)
        reached = {size for size in short if text[:size] + _BETWEEN in self._all}
        for at in range(1, len(text)):
            if at not in reached:
                continue
            if len(text) - at <= self._longest and _BETWEEN + text[at:] in self._all:
                return True
            ends = range(at + 1, min(at + self._longest, len(text)) + 1)
            reached.update(end for end in ends if text[at:end] in self._pieces)
        return False

    def stop(self, text: str) -> str:
        """The stop text as the model writes it, in its normal form.

        Raises ConfigError for one that no sample can ever contain.
        """
        found = normalized(text, self._normalize)
        if found in self:
            return found
        strange = [character for character in found if character not in self]
        why = f": the model never writes {code_point(strange[0])}" if strange else ""
        if "\\n" in text:
            why += "; it has a backslash and an n in it, and not a newline"
        raise ConfigError(f"stop {text!r} can never come in a sample{why}. Leave it out.")
