"""The text whose entropy rate is known: that it is known, and that it is the same everywhere."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from charlm import corpora
from charlm.corpora.markov import SHARES, Chain, stationary

SHIPPED = corpora.describe("markov").chain
MARKOV_SHA256 = "24950aecb11c32d249253cc6aeb69894b6071200c4d8f5effa7d75ce11459773"
# Chains of every order, small enough for the exact linear algebra below.
CHAINS = [
    SHIPPED,
    replace(SHIPPED, seed=2),
    Chain(order=1, symbols="\nabcdefghijk", length=200_000, seed=3),
    Chain(order=3, symbols=" abcdefg", length=200_000, seed=4),
]


def test_markov_text_is_the_same_on_every_machine():
    text = b"".join(SHIPPED.text())
    assert len(text) == SHIPPED.length
    assert set(text) <= set(SHIPPED.symbols.encode())
    # Computed when the corpus was made. A published score is worthless once this text changes.
    assert hashlib.sha256(text).hexdigest() == MARKOV_SHA256


@pytest.mark.parametrize("length", [0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1])
def test_a_shorter_markov_text_is_a_beginning_of_the_longer(length):
    text = b"".join(replace(SHIPPED, length=length).text())
    assert text == b"".join(SHIPPED.text())[:length]


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_markov_chain_is_ergodic_by_construction(chain):
    weights = chain.weights()
    assert (weights.sum(axis=-1) == 256).all()
    assert (weights[..., 0] > 0).all()
    assert set((weights > 0).sum(axis=-1).ravel()) <= set(map(len, SHARES))


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_entropy_rate_agrees_with_a_linear_solve(chain):
    p = chain.weights() / 256
    matrix = _matrix(p)
    contexts = len(matrix)
    equations = np.vstack([(matrix.T - np.eye(contexts))[1:], np.ones(contexts)])
    shares = np.linalg.solve(equations, np.eye(contexts)[-1])
    assert np.abs(shares - stationary(p).ravel()).max() < 1e-12
    entropy_bits = (shares * _row_entropies_bits(p)).sum()
    assert chain.entropy_bits_per_char() == pytest.approx(entropy_bits, abs=1e-12)


def test_entropy_rate_of_the_shipped_chain():
    assert SHIPPED.entropy_bits_per_char() == pytest.approx(1.558771445950, abs=1e-12)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_markov_text_has_the_entropy_rate(chain):
    """The text's log-likelihood under its chain is n H, within 4 of its standard errors.

    Let c be a context, c' the next, l = -log2 p(c' | c), h(c) = E[l | c] and H = E[h]. With g a
    solution of Poisson's equation g - P g = h - H, the excess l - H is a martingale difference,
    l - h(c) + g(c') - (P g)(c), and a telescoping g(c) - g(c'). So the sum over n characters has
    variance n E[(l - h(c) + g(c') - (P g)(c))^2] and a bounded rest.
    """
    p = chain.weights() / 256
    matrix, h, shares = _matrix(p), _row_entropies_bits(p), stationary(p).ravel()
    H = chain.entropy_bits_per_char()
    contexts, S = len(matrix), len(chain.symbols)
    # I - P + 1 shares' is invertible for a chain with one class, and gives the g of mean 0.
    g = np.linalg.solve(np.eye(contexts) - matrix + shares, h - H)
    rows = p.reshape(contexts, S)
    following = (S * np.arange(contexts)[:, None] + np.arange(S)) % contexts
    surprise_bits = -np.log2(np.where(rows > 0, rows, 1))
    excess = surprise_bits - h[:, None] + g[following] - (matrix @ g)[:, None]
    deviation = np.sqrt((shares[:, None] * rows * excess**2).sum() * chain.length)

    ids = [0] * chain.order + [chain.symbols.index(chr(byte)) for byte in b"".join(chain.text())]
    context = np.zeros(chain.length, dtype=np.int64)
    for age in range(chain.order):
        context = S * context + np.array(ids[age : age + chain.length])
    taken = rows[context, ids[chain.order :]]
    assert (taken > 0).all()
    total_bits = -np.log2(taken).sum()
    bounded = np.abs(g).max() * 2
    assert abs(total_bits - chain.length * H) < 4 * deviation + bounded
    assert 4 * deviation / chain.length < 0.02  # the error is small enough to say something


def _matrix(p):
    """The transition matrix over contexts, written out from its definition."""
    S, contexts = p.shape[-1], p[..., 0].size
    matrix = np.zeros((contexts, contexts))
    for context, row in enumerate(p.reshape(contexts, S)):
        for symbol in range(S):
            matrix[context, (S * context + symbol) % contexts] += row[symbol]
    return matrix


def _row_entropies_bits(p):
    return np.array([-sum(q * np.log2(q) for q in row if q) for row in p.reshape(-1, p.shape[-1])])
