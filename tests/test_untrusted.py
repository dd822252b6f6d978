"""JSON from a file: what is too long, too deep or of another type is refused."""

from typing import Any

import pytest

from charlm import untrusted
from charlm.untrusted import fits, read_object, read_text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "not an object"),
        ('{"a":' * 40 + "1" + "}" * 40, "too deeply"),
        ('{"a":' + "[" * 100_000, "too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
        ("{", "Expecting"),
    ],
)
def test_what_cannot_be_read(text, words):
    with pytest.raises(ValueError, match=words):
        read_object(text)


def test_what_can(tmp_path):
    deep = '{"a":' * 30 + "1" + "}" * 30
    assert list(read_object(deep)) == ["a"]
    (tmp_path / "a").write_bytes(b"\r\n\xc3\xa9")
    assert read_text(tmp_path / "a") == "\r\né"


def test_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted, "LONGEST", 20)
    (tmp_path / "a").write_text("a" * 81)
    with pytest.raises(ValueError, match="longer"):
        read_text(tmp_path / "a")
    with pytest.raises(ValueError, match="longer"):
        read_object('{"a": "' + "b" * 20 + '"}')
    monkeypatch.setattr(untrusted, "CONTAINERS", 2)
    with pytest.raises(ValueError, match="longer"):
        read_object('{"a": [[]]}')


@pytest.mark.parametrize(
    ("hint", "value", "right"),
    [
        (int, 1, True), (int, True, False), (int, 1.0, False), (float, 1, True), (bool, 1, False),
        (int | None, None, True), (int | None, "1", False), (dict[str, Any], {}, True),
        (dict[str, Any] | None, [], False), (list[Any], [1], True), (str, None, False),
    ],
)  # fmt: skip
def test_types(hint, value, right):
    assert fits(hint, value) is right
