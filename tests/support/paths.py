"""Where the repository and the real texts are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
TEXTS = ROOT.parent / "shared" / "data"  # real texts, where this machine has them
