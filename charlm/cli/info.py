"""`charlm info`: everything a model file says but its weights."""

from pathlib import Path
from typing import Any

import click

from charlm.cli.options import PATH
from charlm.cli.shading import json_line, one_line


@click.command("info", short_help="Show everything a model holds but its weights.")
@click.argument("model", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, symbols and all.")
def command(model: Path, as_json: bool) -> None:
    """Show what MODEL, a run directory or a model file, is and how it was made.

    \b
    charlm info run
    charlm info run --json | jq .history.val_bits_per_char
    """
    from charlm import model_file

    path = model_file.find(model)
    loaded = model_file.load(path)
    tokenizer = loaded.tokenizer
    symbols = [tokenizer.symbol(id) for id in range(tokenizer.vocabulary)]
    about: dict[str, Any] = {
        "file": str(path),
        "size_bytes": path.stat().st_size,
        "version": loaded.version,
        "parameters": loaded.network.parameters(),
        "network": loaded.network.config.to_dict(),
        "ngram": None
        if loaded.ngram is None
        else {
            "order": loaded.ngram.order,
            "ngrams": sum(loaded.ngram.ngrams),
            "size_bytes": loaded.ngram.size_bytes,
        },
        "tokenizer": {
            "level": tokenizer.level,
            "vocabulary": tokenizer.vocabulary,
            "records": loaded.records,
            "hash": tokenizer.hash,
        },
        "corpus_hash": loaded.corpus_hash,
        "training": loaded.training,
        "history": loaded.history,
    }
    if as_json:
        about["tokenizer"]["symbols"] = symbols
        click.echo(json_line(about))
        return
    for key, value in about.items():
        _show(f"{key}:", value)
    shown = " ".join(symbols[:100]) + (" ..." if len(symbols) > 100 else "")
    click.echo(f"symbols:\n  {shown}")


def _show(name: str, value: Any, indent: str = "") -> None:
    if not isinstance(value, dict):
        click.echo(f"{indent + one_line(name):<22} {_word(value)}")
        return
    click.echo(f"{indent}{one_line(name)}")
    for inner in value:
        _show(inner, value[inner], indent + "  ")


def _word(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else one_line(str(value))
