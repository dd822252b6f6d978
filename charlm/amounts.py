"""Amounts as messages tell them: sizes with a unit that suits them, and one of what is one."""


def size_words(size_bytes: int) -> str:
    """`size_bytes` in the largest unit of which there is one: `12 bytes`, `3.4 kB`, `1.1 MB`."""
    for unit, name in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:,.1f} {name}"
    return counted(size_bytes, "byte")


def counted(number: int, what: str) -> str:
    """`number` of `what`, which is a regular noun: `1 update`, `1,200 updates`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
