"""What tokens of a large vocabulary cost, without an array of all its logits.

The vocabulary is gone through a block of words at a time, whose logits stay in the processor's
cache: of each block the sum of the exponentials is kept, and the target's own logit.

N tokens, D width, V vocabulary.
"""

from typing import Any

from charlm.ops import Array, affine

WIDE = 1 << 15  # words from which on this is worth it
WORDS, TOKENS = 256, 1024  # of one block


def costs(xp: Any, x: Array, weight: Array, bias: Array, ids: Array) -> tuple[Array, Array, Array]:
    """What ids (N,) cost by the logits x weight^T + bias: their nats (N,), the likeliest ids (N,),
    and the nats (N,) of these.

    x is (N, D), N at most about TOKENS; weight is (V, D) and bias (V,). Law: the figures are those
    of the softmax of all the logits at once, but for rounding.
    """
    rows = xp.arange(len(ids))
    top = total = wanted = best = None
    for begin in range(0, len(weight), WORDS):
        logits = affine(xp, x, weight[begin : begin + WORDS], bias[begin : begin + WORDS])
        likeliest = logits.argmax(-1)
        peak = logits[rows, likeliest]
        within = xp.clip(ids - begin, 0, logits.shape[-1] - 1)
        own = logits[rows, within]
        if top is None:
            top, total, best, wanted = peak, xp.zeros_like(peak), likeliest, own
            higher = top
        else:
            wanted = xp.where(ids >= begin, own, wanted)
            best = xp.where(peak > top, likeliest + begin, best)
            higher = xp.maximum(top, peak)
        logits -= higher[:, None]
        total = total * xp.exp(top - higher) + xp.exp(logits, out=logits).sum(-1)
        top = higher
    log_total = xp.log(total)
    return log_total + (top - wanted), best, log_total
