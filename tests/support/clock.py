"""A clock for tests of what goes by the clock."""


class Clock:
    """A clock that only goes on when it is told to, or by `tick_s` whenever it is read."""

    def __init__(self, tick_s=0.0):
        self.now_s = 0.0
        self.tick_s = tick_s

    def __call__(self):
        self.now_s += self.tick_s
        return self.now_s
