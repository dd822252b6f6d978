"""What encoding a text has that is not UTF-8, and what makes UTF-8 of it."""

import re

LOOKED_AT = 1 << 16  # bytes
LEAST = 6  # symbols: fewer may be another encoding's
NUL_SHARE = 0.3  # of the bytes at even, or at odd, offsets

# What a file begins with that is no plain text, and what makes text of it.
_BEGINNINGS = (
    (b"\xff\xfe\0\0", "is UTF-32", "iconv -f UTF-32 -t UTF-8"),
    (b"\0\0\xfe\xff", "is UTF-32", "iconv -f UTF-32 -t UTF-8"),
    (b"\xff\xfe", "is UTF-16", "iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "is UTF-16", "iconv -f UTF-16 -t UTF-8"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "zstdcat"),
    (b"\xfd7zXZ\0", "is compressed with xz", "xzcat"),
    (b"BZh", "is compressed with bzip2", "bzcat"),
    (b"PK\3\4", "is a zip archive", "unzip -p"),
    (b"%PDF", "is a PDF", "pdftotext"),
)
# Encodings by what so large a share of their symbols outside ASCII are. Python's gb2312 has what
# nearly all of GB18030's texts have, and no pair of bytes of which one is a Latin letter.
_ASIAN = (
    ("SHIFT_JIS", "shift_jis", re.compile("[\u3040-\u30ff]"), 0.2),
    ("EUC-JP", "euc_jp", re.compile("[\u3040-\u30ff]"), 0.2),
    ("EUC-KR", "euc_kr", re.compile("[\uac00-\ud7a3]"), 0.8),
    ("GB18030", "gb2312", re.compile("[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]"), 0.95),
)
_CYRILLIC = (
    ("WINDOWS-1251", "cp1251", re.compile("[а-яё]"), 0.7),
    ("KOI8-R", "koi8_r", re.compile("[а-яё]"), 0.7),
)
_LETTERS = re.compile("[A-Za-z]")


def remedy(data: bytes, at: int, *, beginning: bool) -> str:
    """What to do about a text whose byte at `at` is not UTF-8, in a sentence.

    `beginning` says whether `data` begins where the text does.
    """
    if beginning:
        for start, what, command in _BEGINNINGS:
            if data.startswith(start):
                return f"It {what}: make text of it with `{command} FILE`."
    line = data.rfind(b"\n", 0, at) + 1
    encoding = _guess(data[line : line + LOOKED_AT])
    if encoding is None:
        return "Re-save it as UTF-8 (`iconv -f ITS-ENCODING -t UTF-8 FILE`)."
    return f"It looks like {encoding}: `iconv -f {encoding} -t UTF-8 FILE` makes UTF-8 of it."


def wide(data: bytes) -> str | None:
    """UTF-16LE or UTF-16BE where the beginning of a text looks like one without a mark."""
    data = data[: min(len(data), LOOKED_AT) & ~1]
    even, odd = data[::2].count(0), data[1::2].count(0)
    for encoding, nuls, others in (("UTF-16LE", odd, even), ("UTF-16BE", even, odd)):
        if nuls > NUL_SHARE * len(data) / 2 and others * 10 < nuls:
            return encoding
    return None


def _guess(data: bytes) -> str | None:
    high = sum(byte > 0x7F for byte in data)
    letters = len(_LETTERS.findall(data.decode("latin-1")))
    western = b"\0" not in data and letters > 3 * high
    for encoding, codec, expected, share in _ASIAN if western else _ASIAN + _CYRILLIC:
        text = data.decode(codec, "replace").removesuffix("\ufffd")  # what the end has cut off
        others = sum(symbol > "\x7f" for symbol in text)
        if "\ufffd" not in text and len(expected.findall(text)) >= max(LEAST, share * others):
            return encoding
    return "WINDOWS-1252" if western else None
