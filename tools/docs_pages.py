"""The pages of the site: the commands that stand in them, and the outputs that they show.

A block of `sh` is run by bash; where a block of `text` follows, or a `<pre>` for one in colours, it
shows what the terminal showed. `python tools/docs_pages.py FOLDER [PAGE]...` runs the commands in
FOLDER and writes what they said into the pages, so that no output is made up. The first page of the
tutorial makes what the others begin with: book.txt, data and run. FRONT shows no output; its reader
has books.
"""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FRONT = DOCS / "index.md"
BLOCK = re.compile(
    r"^```sh\n(?P<code>.*?)^```\n(?P<shown>\n(?:```text\n.*?^```\n|<pre .*?^</pre>\n))?",
    re.MULTILINE | re.DOTALL,
)
# The backgrounds that charlm paints with, as a browser says them.
COLOURS = {
    "224": "#ffd7d7", "217": "#ffafaf", "210": "#ff8787", "203": "#ff5f5f", "196": "#ff0000",
    "27": "#005fff", "69": "#5f87ff", "111": "#87afff", "153": "#afd7ff",
}  # fmt: skip
PAINTED = re.compile("\x1b\\[30;48;5;(\\d+)m(.*?)\x1b\\[0m", re.DOTALL)


def pages() -> list[Path]:
    """The pages in the order of the site's navigation."""

    def leaves(nav):
        for entry in nav:
            (value,) = entry.values()
            yield from leaves(value) if isinstance(value, list) else [value]

    class Loader(yaml.SafeLoader):
        """Reads mkdocs.yml, whose tags name Python functions, without those."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)
    return [DOCS / name for name in leaves(config["nav"])]


def blocks(page: Path) -> list[str]:
    """The commands of a page, a block each."""
    return [found["code"] for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def run(code: str, folder: Path, path: str | None = None) -> subprocess.CompletedProcess:
    """What bash does with a block in `folder`; stdout has all that a terminal would show.

    With `pipefail`, so that a charlm that fails within a pipe is seen. So what feeds a `head` must
    be charlm, which takes a closed pipe for its end, or say all in one write: whatever else is
    ended by SIGPIPE whenever head is the quicker.
    """
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env=os.environ | {"PATH": path or os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )


def shown(output: str) -> str:
    """The block of Markdown that shows an output."""
    if "\x1b[" not in output:
        return f"\n```text\n{output.rstrip()}\n```\n"
    parts = PAINTED.split(output.rstrip())
    for at, text in enumerate(parts):
        if at % 3 != 1:
            # An empty line would end the block, to Markdown.
            parts[at] = html.escape(text).replace("\n\n", "\n&#8203;\n")
    for at in range(1, len(parts), 3):
        parts[at : at + 2] = [f'<b style="background:{COLOURS[parts[at]]}">{parts[at + 1]}</b>', ""]
    return f'\n<pre class="shaded">\n{"".join(parts)}\n</pre>\n'


def write(page: Path, folder: Path) -> None:
    """Runs the commands of a page, and puts what they say where the page shows it."""

    def anew(found: re.Match[str]) -> str:
        print(found["code"], end="", file=sys.stderr)
        done = run(found["code"], folder)
        if done.returncode:
            sys.exit(f"{page.name}: status {done.returncode}\n{done.stdout}")
        code = f"```sh\n{found['code']}```\n"
        return code + (shown(done.stdout) if found["shown"] else "")

    text = page.read_text(encoding="utf-8")
    page.write_text(BLOCK.sub(anew, text), encoding="utf-8")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    given = list(map(Path, sys.argv[2:]))
    for one in given or [page for page in pages() if page != FRONT]:
        write(one, place)
