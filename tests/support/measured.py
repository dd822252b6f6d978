"""Models of every level that have learned nothing, to be measured with."""

import re

from charlm import model_file
from charlm.config import NetworkConfig
from charlm.network import build
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.forms import byte_form, char_form, pair_form, word_form
from charlm.training.initialise import initial_weights

LETTERS = "abcdefghijklmnopqrstuvwxyz ,.\n"
SENTENCES = ["the king shall have his own", "what say you to that, my lord", "i know not."]


def form_of(level, boundary, normalize="none"):
    """A stored tokenizer that knows SENTENCES; "unk" is one of characters with <unk>.

    Words of running text are spaced as in PTB, those of records are not.
    """
    if level == "byte":
        return byte_form(boundary=boundary)
    if level == "bpe":
        return pair_form(
            SENTENCES * 5, size=280, min_count=1, boundary=boundary, normalize=normalize
        )
    if level in ("char", "unk"):
        unknown = level == "unk"
        return char_form(LETTERS, boundary=boundary, unknown=unknown, normalize=normalize)
    if boundary:
        words = {f" {word}" for line in SENTENCES for word in re.findall(r"\w+|\S", line)}
        words |= {"what", ",", "."}
        return word_form(sorted(words), boundary=True, normalize=normalize)
    words = {f" {word}" for line in SENTENCES for word in line.split()} | {" \n"}
    return word_form(sorted(words), boundary=False, normalize=normalize, words="spaces")


def make(path, level, records="none", normalize="none"):
    """The path of a model file that has learned nothing, and whose logits are far apart."""
    tokenizer = Tokenizer.from_json(form_of(level, records != "none", normalize))
    network = build(NetworkConfig(cell="gru", width=8), tokenizer.vocabulary)
    weights = {name: 2 * one.numpy() for name, one in initial_weights(network, 1).items()}
    model_file.save(model_file.Model(network, weights, tokenizer, records=records), path)
    return path
