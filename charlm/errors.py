"""The errors a user can cause. The command line catches `CharlmError`, and nothing else, once.

    CharlmError
      ConfigError       a knob or a name is wrong
      DataError         a text, corpus or model file cannot be used
      TrainingError     the run cannot go on

A message says what, where, and what to do.
"""


class CharlmError(Exception):
    """Something the user can put right; the message is one line.

    `typed` is the message with options as they are typed, where it speaks of a program's arguments.
    """

    typed: str | None = None


class ConfigError(CharlmError):
    """A knob is out of its range, or a name is unknown."""


class DataError(CharlmError):
    """A text, corpus or model file cannot be used."""


class TrainingError(CharlmError):
    """The run cannot go on."""
