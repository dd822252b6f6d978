"""A run that goes on from another run's model, on another text.

Symbols are matched by what they are, never by their place: the model keeps all its ids, and what
the text has besides comes after them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from charlm.corpus import Corpus, translate
from charlm.errors import ConfigError, DataError
from charlm.model_file import Model
from charlm.network import Network
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.symbols import code_point

# The weights that have a row for each symbol. The embedding has one more, the start's, at its end.
BY_SYMBOL = re.compile(r"(members\.\d+\.)?(embedding|head\.weight|head\.bias)")
# Of the usual learning rate. A model of tiny Shakespeare, lstm 1x384, on 90,000 characters of the
# Python reference: 2.23, 2.39 and 2.55 bits/char after 150 updates at 1, 0.5 and 0.25. On others of
# Shakespeare's plays, where more is to be kept: 2.79 after 20 updates at 1, and 2.62 at 0.25.
LR_SHARE = 0.5
NAMED_AT_MOST = 8


@dataclass(frozen=True)
class Origin:
    """The model in the file `path`, as what a run begins from."""

    path: Path
    model: Model

    def weights(self, network: Network) -> dict[str, Tensor]:
        """The model's weights as those of `network`, whose vocabulary may be larger.

        New rows begin as the mean of the old ones, and the new biases lower by the logarithm of how
        many there are. Law: what was predicted keeps its logits, in an ensemble each member's, and
        all that is new together is never predicted with more than the mean probability, 1 / V.
        Source: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models".
        """
        weights = {name: torch.tensor(array) for name, array in self.model.weights.items()}
        V = self.model.network.vocabulary
        added = network.vocabulary - V
        if added and network.config.adaptive:
            raise ConfigError(
                f"{self.path} has an adaptive head, which takes no new symbols: prepare the text"
                " with the model's tokenizer, so that they are unknown."
            )
        if added:
            for name in filter(BY_SYMBOL.fullmatch, weights):
                old = weights[name]
                mean = old[:V].mean(0, keepdim=True)
                if name.endswith("head.bias"):
                    mean = mean - torch.tensor(added).log()
                rows = mean.expand(added, *old.shape[1:])
                weights[name] = torch.cat([old[:V], rows, old[V:]])
        return weights

    def about(self) -> dict[str, Any]:
        """What is kept of the model in the history of those that come from it."""
        return {
            "path": str(self.path),
            "hash": self.model.hash,
            "corpus_hash": self.model.corpus_hash,
            "history": self.model.history,
        }

    def news(self, tokenizer: Tokenizer) -> str | None:
        """What to say of the symbols of `tokenizer` that are new to the model."""
        new = range(self.model.tokenizer.vocabulary, tokenizer.vocabulary)
        if not new:
            return None
        named = [_name(tokenizer, id) for id in new[:NAMED_AT_MOST]]
        shown = ", ".join(named + ["..."] * (len(new) > NAMED_AT_MOST))
        return f"new symbols: {len(new):,}, their rows begin small: {shown}"


def fitted(corpus: Corpus, model: Model, out: Path, say: Callable[[str], None]) -> Corpus:
    """The corpus with the model's ids, and new ones after them: as it lies, or made in `out`.

    Raises DataError where the two are of another level, normal form or kind of records.
    """
    tokenizer = model.tokenizer
    sides = [
        ("level", tokenizer.level, corpus.tokenizer.level),
        ("normalize", tokenizer.normalize, corpus.tokenizer.normalize),
        ("records", model.records, corpus.records),
    ]
    for option, wanted, found in sides:
        if wanted != found:
            raise DataError(
                f"the model has {option} {wanted}, and {corpus.path} has {option} {found}. Prepare"
                f" its text with --{option} {wanted}, or name the text itself."
            )
    tokenizer = tokenizer.grown(corpus.tokenizer.pieces)
    if tokenizer.hash == corpus.tokenizer.hash:
        return corpus
    say(f"writing {corpus.path} in the model's ids to {out}")
    return translate(corpus, tokenizer, out, force=True)


def _name(tokenizer: Tokenizer, id: int) -> str:
    text = tokenizer.pieces[id].decode("utf-8")
    return code_point(text) if len(text) == 1 else tokenizer.symbol(id)
