"""Engines without a network: tables and engines that round."""

import numpy as np


class TableEngine:
    """A bigram table with the interface of an engine; its state counts the ids read, by row."""

    is_wide = False

    def __init__(self, logits):
        self.logits = np.asarray(logits, dtype=np.float32)  # (V + 1, V)
        self.vocabulary = self.logits_per_token = self.logits.shape[1]
        self.start = self.vocabulary

    def initial_state(self, batch):
        return ((np.zeros(batch, dtype=int),),)

    def step(self, ids, state):
        ((reads,),) = state
        return self.logits[ids], ((reads + 1,),)

    def join(self, states):
        return ((np.concatenate([reads for ((reads,),) in states]),),)


class Rough:
    """An engine whose batched products are off by a share of the logits' range."""

    def __init__(self, engine, noise):
        self.engine, self.noise = engine, noise
        self.start, self.vocabulary = engine.start, engine.vocabulary
        self.logits_per_token = engine.logits_per_token
        self.initial_state, self.join = engine.initial_state, engine.join
        self.alone = 0

    def step(self, ids, state):
        logits, state = self.engine.step(ids, state)
        if len(ids) == 1:
            self.alone += 1
            return logits, state
        signs = 1 - 2 * (np.indices(logits.shape).sum(0) % 2)
        noise = self.noise * np.ptp(logits, axis=-1, keepdims=True)
        return logits + (noise * signs).astype(np.float32), state
