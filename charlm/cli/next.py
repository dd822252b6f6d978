"""`charlm next`: what a model expects after a text, symbol by symbol."""

from pathlib import Path

import click

from charlm.cli.bars import reading
from charlm.cli.options import PATH
from charlm.cli.shading import json_line
from charlm.config import UNKNOWN_POLICIES


@click.command("next", short_help="Show what a model expects next.")
@click.argument("model", type=PATH)
@click.option("-p", "--prompt", help="The text before it.")
@click.option(
    "--prompt-file",
    type=PATH,
    help="A file with the text before it, but for its last newline; - for stdin.",
)
@click.option("--state", type=PATH, help="Go on from a state that sample --save-state wrote.")
@click.option(
    "--unknown",
    type=click.Choice(UNKNOWN_POLICIES),
    default="error",
    show_default=True,
    help="What to do with characters of the prompt that the model does not know.",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    metavar="N",
    help="Show the N likeliest symbols.",
)
@click.option("--all", "everything", is_flag=True, help="Show all symbols.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each symbol.")
def command(
    model: Path,
    prompt: str | None,
    prompt_file: Path | None,
    state: Path | None,
    unknown: str,
    top: int,
    everything: bool,
    as_json: bool,
) -> None:
    """Show what MODEL, a run directory or a model file, expects after a prompt.

    One line for each symbol, the likeliest first, with tabs between its columns: rank, symbol,
    probability, and the bits that the symbol would take. Without a prompt it is what a record
    begins with, or a line.

    \b
    charlm next run --prompt "To be, or not to b"
    charlm next run --prompt "To be" --all --json | jq -r .symbol
    """
    if prompt is not None and prompt_file is not None:
        raise click.UsageError("Give --prompt or --prompt-file, not both.")
    told = click.get_current_context().get_parameter_source("top")
    if everything and told is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("Give --top or --all, not both.")

    from charlm.cli.prompts import prompt_text, tell_strange
    from charlm.library.model import Model
    from charlm.sampling import states
    from charlm.sampling.prompts import Prompts

    loaded = Model.load(model)
    place = None if state is None else states.load(state, loaded.contents)
    prompts = Prompts(loaded.contents, unknown)
    text = prompt_text(prompt, prompt_file, prompts.errors)
    ids = prompts.ids(text)
    tell_strange(prompts)
    with reading(len(ids)) as advance:
        found = loaded.next(text, state=place, unknown=unknown, progress=advance)
    for rank, one in enumerate(found if everything else found[:top], 1):
        if as_json:
            about = {
                "rank": rank,
                "id": one.id,
                "symbol": one.symbol,
                "probability": one.probability,
                "bits": one.bits,
            }
            click.echo(json_line(about))
        else:
            click.echo(f"{rank}\t{one.symbol}\t{one.probability:.6f}\t{one.bits:.4f}")
