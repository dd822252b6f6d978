"""`charlm serve`: models over HTTP, for programs that speak OpenAI's API, and for a browser."""

from pathlib import Path
from typing import Any

import click

from charlm.cli.options import PATH, knob_options, take
from charlm.serving.limits import Limits


@click.command("serve", short_help="Serve models over HTTP.")
@click.argument("models", nargs=-1, required=True, type=PATH, metavar="MODEL...")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port to listen on; 0 for any that is free.",
)
@click.option(
    "--token",
    envvar="CHARLM_TOKEN",
    show_envvar=True,
    help="What a client must send (Authorization: Bearer TOKEN).",
)
@knob_options(Limits)
def command(
    models: tuple[Path, ...], host: str, port: int, token: str | None, **values: Any
) -> None:
    """Serve each MODEL, a run directory or a model file, over HTTP.

    /v1/completions and /v1/models are OpenAI's, so its clients work; / is a page to play with. A
    model is called by its directory or file. All requests of a moment are drawn side by side; what
    one with a seed gets is what `charlm sample` writes, whatever the others are. With
    echo, logprobs and max_tokens 0 the API measures a text; one line with its newline scores what
    `charlm score` says of it.

    Where it listens is printed on stderr. /healthz says whether it is well, /metrics is for
    Prometheus. SIGTERM or Ctrl-C ends it with status 0 when all that was begun is finished, within
    the time of --drain; a second one ends it at once.

    \b
    charlm serve run
    charlm serve runs/a runs/b --port 8080 --token secret
    """
    if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
        raise click.UsageError("--token is made of ASCII letters, digits and signs.")
    limits = take(Limits, values)

    from charlm.serving.server import serve

    def tell(line: str) -> None:
        click.echo(f"charlm: {line}", err=True)

    serve(models, limits, host=host, port=port, token=token, tell=tell)
