"""The page: a template of HTML, CSS and JavaScript with one block of JSON in it.

All that a run has made up, such as text, is in that block, and the script shows it as text. The
page allows itself nothing but its own style and script, so that nothing else runs or is fetched.
"""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("template")
SCRIPTS = ("chart.js", "passage.js", "report.js")


def page(facts: dict[str, Any]) -> str:
    """The page that shows `facts`, ASCII. Law: no text in `facts` is markup in it."""
    style = _read("report.css")
    script = "\n".join(map(_read, SCRIPTS))
    parts = {
        "policy": f"default-src 'none'; img-src data:; style-src {_source(style)};"
        f" script-src {_source(script)}; base-uri 'none'; form-action 'none'",
        "style": style,
        "data": block(facts),
        "script": script,
    }
    # In one pass: what is filled in is not looked through for slots again.
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: parts[slot[1]], _read("report.html"))


def block(facts: Any) -> str:
    """The facts as JSON that may stand in a script element: no "<" or ">" or "&" is left in it."""
    text = json.dumps(facts, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _source(text: str) -> str:
    """How a content security policy names an element with that text."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _read(name: str) -> str:
    return (TEMPLATE / name).read_text(encoding="utf-8")
