"""An n-gram model in dictionaries, as slow and as plain as the formulas."""

from collections import Counter, defaultdict

from charlm.ngram.counting import FALLBACK


def contexts(ids, boundary, start):
    """Each token with all that a context may reach back to, the last first."""
    before = [start]
    for id in ids.tolist():
        yield tuple(before[::-1]), id
        before = [start] if id == boundary else [*before, id]


def naive_counts(ids, vocabulary, order, boundary):
    """The counts and the discounts of each order, from the formulas, in dictionaries."""
    seen = [defaultdict(Counter) for _ in range(order)]
    for context, id in contexts(ids, boundary, vocabulary):
        for depth in range(min(order, len(context) + 1)):
            seen[depth][context[:depth]][id] += 1
    counts = []
    for depth in range(order):
        found = defaultdict(Counter)
        for context, own in seen[depth].items():
            for id, raw in own.items():
                longer = 0
                if depth + 1 < order:
                    longer = sum(
                        other[:depth] == context and id in seen[depth + 1][other]
                        for other in seen[depth + 1]
                    )
                found[context][id] = longer or raw
        counts.append(found)
    taken = []
    for found in counts:
        of = Counter(c for own in found.values() for c in own.values())
        taken.append(list(FALLBACK))
        if all(of[i] for i in (1, 2, 3, 4)):
            y = of[1] / (of[1] + 2 * of[2])
            some = [0.0, *(i - (i + 1) * y * of[i + 1] / of[i] for i in (1, 2, 3))]
            if all(0 < some[i] <= i for i in (1, 2, 3)):
                taken[-1] = some
    return counts, taken


def naive_p(counts, taken, vocabulary, context, id, depth):
    """p(id | the last `depth` tokens of the context), the last token of which comes first."""
    if depth < 0:
        return 1 / vocabulary
    shorter = naive_p(counts, taken, vocabulary, context, id, depth - 1)
    own = counts[depth].get(context[:depth])
    if depth > len(context) or not own:
        return shorter
    total, off = sum(own.values()), [taken[depth][min(c, 3)] for c in own.values()]
    kept = own[id] - taken[depth][min(own[id], 3)]
    return kept / total + sum(off) / total * shorter
