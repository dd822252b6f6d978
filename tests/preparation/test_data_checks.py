"""What is said about a text that is not as it should be, and what to do about it."""

import pytest

from charlm.config import PrepConfig
from charlm.corpus import prepare
from charlm.errors import DataError
from charlm.preparation import encodings, sources

PROSE = "".join(
    f"The {i * 7919 % 997} words of a line that is like no other one.\n" for i in range(60)
)


@pytest.fixture
def said(tmp_path):
    """What is said about texts or bytes, each a file."""

    def run(*texts, **knobs):
        paths = [tmp_path / f"text{i}.txt" for i in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        lines = []
        prepare(paths, tmp_path / "data", PrepConfig(**knobs), force=True, say=lines.append)
        return "\n".join(lines)

    return run


@pytest.mark.parametrize("chunk", [7, 1 << 19])
@pytest.mark.parametrize(
    ("text", "knobs", "words", "remedy"),
    [
        (f"{PROSE}a\0b\x07c\x7f\x00", {}, "4 control characters, 2 of them NUL", "tr -d"),
        (f"{PROSE}one\x1btwo", {"level": "word"}, "1 control character;", "tr -d"),
        (f"{PROSE}\ufffd and \ufffd", {}, "2 symbols U+FFFD", "iconv"),
        ("one\rtwo\r\nthree\r", {}, "2 carriage returns without a newline", "tr '\\r' '\\n'"),
        (f"a\n \t\nb\n\n \r\n{PROSE}", {"records": "blank"}, "2 lines of spaces only", "sed"),
        (f"{PROSE}\ufeff{PROSE}", {}, "1 byte order mark (U+FEFF) inside", "sed"),
        ("日本語の文。" * 50, {"level": "word"}, "no spaces", "--level char"),
        ("การ ไทย " * 50, {"level": "word"}, "no spaces", "bpe"),
        ("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo\n" * 50, {"level": "word"}, "no spaces", "bpe"),
        ("x" * 3000, {"records": "line"}, "all of the text is one record", "--records"),
        ("x\ny\n", {"records": "line"}, "2 records are too few for 0.05 of them", "--test"),
        ("xy", {}, "too short for 0.05 of it", "--test"),
    ],
)  # fmt: skip
def test_what_is_odd_is_said_with_a_remedy(said, monkeypatch, chunk, text, knobs, words, remedy):
    monkeypatch.setattr(sources, "CHUNK", chunk)
    line = next((line for line in said(text, **knobs).splitlines() if words in line), None)
    assert line is not None
    assert remedy in line


def test_a_common_text_has_none_of_it(said):
    assert said(PROSE) == "text: nothing odd about it"
    for text in ("Gr\xfc\xdfe, d\xe9j\xe0 vu — " + PROSE, PROSE.replace("\n", "\r\n")):
        found = said(text, level="word")
        assert "control" not in found
        assert "no spaces" not in found
        assert "without a newline" not in found


def test_many_files_get_one_note(said):
    found = said(*(f"\ufeff{PROSE}{i}\n" for i in range(20)))
    assert found.count("byte order mark") == 1
    assert "at the start of 20 files (" in found
    assert "text1.txt" in found


@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE"])
def test_utf_16_without_a_mark_is_named(said, encoding):
    found = said(PROSE.encode(encoding))
    assert f"as in {encoding} without a mark" in found
    assert f"iconv -f {encoding} -t UTF-8" in found
    assert "control" not in found
    assert encodings.wide(PROSE.encode()) is None


SAMPLES = {
    "SHIFT_JIS": "これは日本語の文章です。\n",
    "EUC-JP": "これは日本語の文章です。\n",
    "EUC-KR": "한국어 문장입니다.\n",
    "GB18030": "这是一个中文句子。\n",
    "WINDOWS-1251": "Это русский текст.\n",
    "KOI8-R": "Это русский текст.\n",
    "WINDOWS-1252": "Le caf\xe9 \x93r\xe9sum\xe9\x94 est tr\xe8s agr\xe9able, voil\xe0 tout.\n",
}  # fmt: skip


@pytest.mark.parametrize("encoding", SAMPLES)
def test_an_older_encoding_is_named(said, encoding):
    data = SAMPLES[encoding].encode("latin-1" if encoding == "WINDOWS-1252" else encoding)
    with pytest.raises(DataError, match=f"iconv -f {encoding} -t UTF-8") as caught:
        said(b"plain at first\n" + data * 9)
    assert "--level byte" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfea\0", "iconv -f UTF-16"),
        (b"\x28\xb5\x2f\xfd\0\0", "zstdcat"),
        (b"\xfd7zXZ\0\0", "xzcat"),
        (b"BZh91AY&SY\xff", "bzcat"),
        (b"PK\3\4\x14\0\xff", "unzip -p"),
        (b"%PDF-1.7\n%\xe2\xe3\n", "pdftotext"),
        (b"\xff", "iconv -f ITS-ENCODING"),
    ],
)
def test_what_is_no_text_is_named(said, data, words):
    with pytest.raises(DataError, match="is not UTF-8") as caught:
        said(data)
    assert words in str(caught.value)
