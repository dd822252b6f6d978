"""`charlm sample`: text from a model, on stdout as it is made."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.cli.bars import Bar, watched
from charlm.cli.options import PATH, knob_options, take
from charlm.config import UNKNOWN_POLICIES, SamplingConfig
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from charlm.cli.writers import Writer
    from charlm.model_file import Model
    from charlm.sampling.session import Session
    from charlm.sampling.text import Manner

FOLLOWED_CHARS_PER_S = 50.0
# Of each pair only one can be asked for.
APART = {
    "per_line": (
        "prompt", "prompt_file", "only", "follow", "interactive", "trace", "best", "unique",
        "save_state", "novel",
    ),
    "follow": (
        "interactive", "trace", "as_json", "best", "unique", "novel", "only", "match", "null",
        "output",
    ),
    "interactive": (
        "trace", "as_json", "best", "unique", "novel", "only", "match", "prompt_file", "null",
        "save_state", "output",
    ),
    "match": ("stops", "max_lines", "until_record"),
    "trace": ("as_json", "best", "unique", "novel", "null"),
    "prompt": ("prompt_file",),
    "only": ("best", "unique"),
}  # fmt: skip


@click.command("sample", short_help="Write text in a model's style.")
@click.argument("model", type=PATH)
@click.option("-p", "--prompt", help="Text to go on from.")
@click.option(
    "--prompt-file",
    type=PATH,
    help="A file with the prompt, but for its last newline; - for stdin.",
)
@click.option("--per-line", is_flag=True, help="Each line of stdin is a prompt; complete them all.")
@click.option(
    "-0", "--null", is_flag=True, help="NUL ends prompts (of --per-line) and samples, not newline."
)
@click.option("--echo/--no-echo", default=True, help="Whether the prompt is part of the output.")
@click.option("--stop", "stops", multiple=True, help="End a sample before this text (repeatable).")
@click.option("--max-lines", type=click.IntRange(min=1), help="End a sample after so many lines.")
@click.option(
    "--until-record", is_flag=True, help="End a sample with its record; without records its line."
)
@click.option("--ban", multiple=True, metavar="TEXT", help="Never draw these characters or words.")
@click.option("--allow", multiple=True, metavar="TEXT", help="Draw these characters or words only.")
@click.option("--match", metavar="REGEX", help="The whole sample matches this.")
@click.option("--unique", is_flag=True, help="Leave out a sample that was there before.")
@click.option(
    "--best", type=click.IntRange(min=1), metavar="N", help="Of the samples only the N likeliest."
)
@click.option("--only", type=click.IntRange(min=0), metavar="K", help="Only sample K, from 0.")
@click.option(
    "--novel",
    type=click.IntRange(min=1),
    metavar="N",
    help="Leave out a sample that shares N characters in a row with the training text, or is a"
    " whole record of it; --json keeps and marks it.",
)
@click.option("--index", type=PATH, help="A corpus made with prep --index, for --novel.")
@click.option("--state", type=PATH, help="Go on from a state that --save-state wrote.")
@click.option(
    "--save-state",
    type=PATH,
    help="Write the state after the prompt to this file; a state there gives way.",
)
@click.option("--follow", is_flag=True, help="Endless text, until the pipe closes.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help=f"Characters per second of --follow (default: {FOLLOWED_CHARS_PER_S:g}).",
)
@click.option(
    "-i", "--interactive", is_flag=True, help="Type beginnings; keep what follows, or draw again."
)
@click.option(
    "--trace", is_flag=True, help="A line for each symbol: its probability, and what was likely."
)
@click.option(
    "--unknown",
    type=click.Choice(UNKNOWN_POLICIES),
    default="error",
    show_default=True,
    help="What to do with characters of the prompt that the model does not know.",
)
@knob_options(SamplingConfig)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "mps"]),
    default="cpu",
    show_default=True,
    help="Where to run; all but cpu need torch.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per sample, a line each.")
@click.option(
    "-o", "--output", "--out", type=PATH, metavar="FILE", help="Write to FILE, not to stdout."
)
@click.option("--force", is_flag=True, help="Replace an existing FILE of -o.")
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    device: str,
    unknown: str,
    output: Path | None,
    force: bool,
    **values: Any,
) -> None:
    """Write text in the style of MODEL, a run directory or a model file.

    The text goes to stdout as it is made, and nothing else does. Several samples are one a line
    where a record is a line, else a blank line apart. What is drawn is bent in this order: match,
    ban and allow, repetition penalty, temperature, top-k, top-p, min-p. Sample K depends on the
    seed and on K alone, not on how many there are.

    \b
    charlm sample run --prompt "To be" --temperature 0.8 --length 300
    charlm sample run -n 10 --seed 7 --json | jq -r .text
    charlm sample run -n 100 --length 60 --unique --best 5
    printf 'My lord\\nThe king\\n' | charlm sample run --per-line
    charlm sample run --match '[A-Z][a-z]+ is [a-z ]+[.]' --length 60
    """
    config: SamplingConfig = take(SamplingConfig, values)
    _check(values | {"output": output}, config)
    if device != "cpu" and (values["state"] or values["save_state"]):
        raise click.UsageError("--state and --save-state are for --device cpu.")

    if output is not None:
        from charlm.cli.files import check_output

        check_output(output, force, [model])
        ctx.with_resource(_stdout_to(output))
    elif values["per_line"]:
        from charlm.cli.files import STREAM, check_stdout

        check_stdout([STREAM])

    from charlm import model_file
    from charlm.sampling import states
    from charlm.sampling.engine import engine_of
    from charlm.sampling.prompts import Prompts
    from charlm.sampling.session import Session, check_reads_on

    loaded = model_file.load(model)
    check_reads_on(loaded, str(model))
    if values["save_state"] is not None:
        states.check_output(values["save_state"])
    place = None
    if values["state"] is not None:
        if values["novel"] is not None and loaded.records != "none":
            raise ConfigError(
                "--novel looks for whole records, and a state does not tell how its record began;"
                " give the beginning with --prompt."
            )
        place = states.load(values["state"], loaded)
    manner = _manner(loaded, config, values)
    engine = engine_of(loaded, device)
    session = Session(engine, loaded, manner, Prompts(loaded, unknown), place)
    if values["interactive"]:
        from charlm.cli.interactive import converse

        _tell_seed(manner)
        converse(session, values["prompt"] or "")
    elif values["per_line"]:
        from charlm.cli.completing import complete_lines

        _tell_seed(manner)
        complete_lines(session, null=values["null"], echo=values["echo"], as_json=values["as_json"])
    else:
        _write_samples(session, values)


@contextmanager
def _stdout_to(path: Path) -> Iterator[None]:
    """Writes what goes to stdout to the file `path`, which is there whole at the end or not."""
    from charlm.cli.files import sink

    with sink(path) as stream:
        settings = {"encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
        text = io.TextIOWrapper(stream, **settings)
        with redirect_stdout(text):
            yield
        text.detach()


def _check(values: dict[str, Any], config: SamplingConfig) -> None:
    """Raises UsageError for options that are of no use together."""
    given = {name for name, value in values.items() if value not in (None, False, ())}
    for name, others in APART.items():
        clash = [other for other in others if {name, other} <= given]
        if clash:
            names = [f"--{one}".replace("_", "-") for one in (name, clash[0])]
            names = [one.replace("--as-json", "--json").replace("stops", "stop") for one in names]
            raise click.UsageError(f"Give {names[0]} or {names[1]}, not both.")
    if any(not text for text in (*values["stops"], *values["ban"], *values["allow"])):
        raise click.UsageError("--stop, --ban and --allow need some text.")
    single = [one for one in ("per_line", "follow", "interactive", "trace", "only") if one in given]
    if config.samples > 1 and single:
        raise click.UsageError(f"Give -n or --{single[0].replace('_', '-')}, not both.")
    if (values["novel"] is None) != (values["index"] is None):
        raise click.UsageError("--novel N and --index CORPUS belong together.")
    if values["rate"] is not None and not values["follow"]:
        raise click.UsageError("--rate is for --follow.")
    if values["follow"] and config.length == 0:
        raise click.UsageError("--follow needs a --length above 0.")


def _manner(model: "Model", config: SamplingConfig, values: dict[str, Any]) -> "Manner":
    from charlm.sampling.processors import never_drawn
    from charlm.sampling.session import ENDS, manner_of

    if strange := never_drawn(model.tokenizer, values["ban"]):
        names = ", ".join(dict.fromkeys(strange))
        click.echo(f"--ban names what the model does not know: {names}", err=True)

    return manner_of(
        model,
        config,
        **{name: values[name] for name in ENDS},
        by_line=values["per_line"] and not values["null"],
        endless=values["follow"],
        costs=values["as_json"] or values["best"] is not None,
    )


def _tell_seed(manner: "Manner") -> None:
    config = manner.config
    if config.seed is None and not (config.greedy or config.temperature == 0):
        click.echo(f"seed {manner.seed}", err=True)


def _write_samples(session: "Session", values: dict[str, Any]) -> None:
    """One beginning, and what follows it, once or more often."""
    from charlm.cli import writers
    from charlm.cli.prompts import prompt_text, tell_strange
    from charlm.sampling import states
    from charlm.sampling.generate import read
    from charlm.sampling.text import sample_texts

    model, manner = session.model, session.manner
    text = prompt_text(values["prompt"], values["prompt_file"], session.prompts.errors)
    ids = session.opening(text)
    tell_strange(session.prompts)
    tell = None
    if values["novel"] is not None:
        from charlm.novelty import Index

        # What was read, and not what was typed: that may have another normal form.
        beginning = model.tokenizer.decode(session.prompts.ids(text), "surrogateescape")
        tell = writers.matches(Index.open(values["index"]), values["novel"], beginning)
    _tell_seed(manner)
    with Bar(len(ids), "tokens") as bar:
        place = read(session.engine, watched(ids, bar), session.place)
    if values["save_state"] is not None:
        states.save(place, model, values["save_state"])
    shown = session.prompts.shown(text) if values["echo"] else ""
    gap = "" if model.records == "line" or values["null"] else "\n"
    plain = writers.Plain(lambda row: shown, "\0" if values["null"] else "\n", gap)
    if values["follow"]:
        from charlm.cli.follow import Paced, forever

        paced = Paced(plain, values["rate"] or FOLLOWED_CHARS_PER_S)
        forever(session, lambda k: session.row(k, ids, place), paced)
    writer: Writer = plain
    seen = is_novel = None
    if tell is not None:
        is_novel = None if values["as_json"] else lambda text: tell(text)["novel"]
    if values["as_json"]:
        writer = writers.Json(lambda row: shown, lambda row: text, manner.seed, tell)
    if values["trace"]:
        writer = writers.Trace(model.tokenizer)
        seen = writer.seen
    chosen = None
    if values["best"] is not None or values["unique"] or is_novel is not None:
        best, unique = values["best"], values["unique"]
        chosen = writer = writers.Chosen(writer, best=best, unique=unique, novel=is_novel)
    ks = range(manner.config.samples) if values["only"] is None else [values["only"]]
    rows = (session.row(k, ids, place) for k in ks)
    sample_texts(
        session.engine,
        model.tokenizer,
        rows,
        manner,
        emit=writer.emit,
        ended=writer.ended,
        seen=seen,
    )
    if chosen is not None:
        chosen.finish()
    if is_novel is not None:
        or_record = "" if model.records == "none" else ", or are a record of it"
        click.echo(
            f"{chosen.not_novel} of {len(ks)} samples left out: they share {values['novel']}"
            f" characters or more with the training text{or_record}",
            err=True,
        )
