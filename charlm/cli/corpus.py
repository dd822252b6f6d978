"""`charlm corpus`: the named corpora, their list and their text."""

import sys

import click


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The corpora whose names go on from `incomplete`."""
    from charlm import corpora

    return [name for name in corpora.names() if name.startswith(incomplete)]


@click.group()
def command() -> None:
    """List the named corpora, or write the text of one to stdout.

    \b
    charlm corpus list
    charlm corpus cat python-docs | charlm prep - -o data
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_corpora(as_json: bool) -> None:
    """Show name, size, kind and title of every corpus.

    An embedded corpus comes with Python, a generated one is made on the spot, a downloaded one is
    fetched once and kept in the user's cache directory (or in $CHARLM_CACHE).

    \b
    charlm corpus list
    charlm corpus list --json | jq -r .name
    """
    import json
    from dataclasses import asdict

    from charlm import corpora
    from charlm.amounts import size_words

    rows = [("NAME", "SIZE", "KIND", "TITLE")]
    for entry in corpora.entries().values():
        entropy = entry.entropy_bits_per_char()
        if as_json:
            click.echo(json.dumps(asdict(entry) | {"entropy_bits_per_char": entropy}))
            continue
        known = f" (true entropy {entropy:.6f} bits/char)" if entropy is not None else ""
        rows.append((entry.name, size_words(entry.size_bytes), entry.kind, entry.title + known))
    if not as_json:
        name, size, kind = (max(map(len, column)) for column in list(zip(*rows, strict=True))[:3])
        for row in rows:
            click.echo(f"{row[0]:{name}}  {row[1]:>{size}}  {row[2]:{kind}}  {row[3]}")


@command.command()
@click.argument("name", shell_complete=_names)
def cat(name: str) -> None:
    """Write the text of the corpus NAME to stdout.

    \b
    charlm corpus cat tiny-shakespeare > shakespeare.txt
    charlm corpus cat markov | charlm prep - -o data
    """
    from charlm import corpora

    for chunk in corpora.open_text(corpora.describe(name)):
        sys.stdout.buffer.write(chunk)
