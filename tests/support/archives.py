"""Small models of every kind of tokenizer, and archives made by hand."""

import struct
import zlib
from functools import cache

from charlm.compression import archive
from charlm.config import NetworkConfig
from charlm.model_file import Model
from charlm.network import Network
from charlm.tokenizer import Tokenizer, forms
from charlm.training.initialise import initial_weights

WORDS = ["the", " cat", " sat", "\n", " ", ".", "caf\u00e9"]

SENTENCES = ["the cat sat on the mat.\n", "the cat\n\nsat caf\u00e9\n"] * 3


def char(symbols="abc \u00e9\n", boundary=False, unknown=False, normalize="none"):
    return forms.char_form(symbols, boundary=boundary, unknown=unknown, normalize=normalize)


def pairs(boundary=False, normalize="none"):
    return forms.pair_form(SENTENCES, size=280, min_count=2, boundary=boundary, normalize=normalize)


FORMS = {
    "char": lambda: (char(), "none"),
    "char with <unk>": lambda: (char(unknown=True), "none"),
    "char nfc": lambda: (char(normalize="nfc"), "none"),
    "char by line": lambda: (char("abc \u00e9", boundary=True), "line"),
    "char by blank line": lambda: (char(boundary=True, unknown=True), "blank"),
    "byte": lambda: (forms.byte_form(boundary=False), "none"),
    "byte by line": lambda: (forms.byte_form(boundary=True), "line"),
    "byte by file": lambda: (forms.byte_form(boundary=True), "file"),
    "word": lambda: (forms.word_form(WORDS, boundary=False, normalize="none"), "none"),
    "word by line nfkc": lambda: (forms.word_form(WORDS, boundary=True, normalize="nfkc"), "line"),
    "bpe": lambda: (pairs(), "none"),
    "bpe by blank line nfkc": lambda: (pairs(boundary=True, normalize="nfkc"), "blank"),
}


@cache
def small_model(kind, seed=1, width=8):
    form, records = FORMS[kind]()
    tokenizer = Tokenizer.from_json(form)
    network = Network(NetworkConfig(width=width, cell="gru"), tokenizer.vocabulary)
    weights = {name: w.numpy() for name, w in initial_weights(network, seed).items()}
    weights["head.weight"] = weights["head.weight"] * 20  # sure of something
    return Model(network, weights, tokenizer, records=records)


HEADER = archive._HEADER.size


def sealed(body):
    return bytes(body) + struct.pack("<I", zlib.crc32(body))


def write_only(monkeypatch, form):
    """Every archive is "coded", however badly a model without training predicts, or "stored"."""

    def chosen(number, body, original):
        return (archive.STORED, original) if form == "stored" else (number, body)

    monkeypatch.setattr(archive, "_shorter", chosen)
