"""What was meant, where an option or an argument is one that other programs have."""

import shlex

import click

# Options of other programs, and of other words for the same thing: charlm's, in order of choice.
MEANT = {
    "--batch-size": ["--batch"],
    "--block-size": ["--context"],
    "--bptt": ["--context"],
    "--checkpoint": ["--resume"],
    "--colour": ["--color"],
    "--continue": ["--resume"],
    "--cpu": ["--device cpu"],
    "--cuda": ["--device cuda"],
    "--epoch": ["--epochs"],
    "--gpu": ["--device cuda"],
    "--hidden": ["--width"],
    "--hidden-size": ["--width"],
    "--init-from": ["--init", "--resume"],
    "--iterations": ["--steps"],
    "--iters": ["--steps"],
    "--learning-rate": ["--lr"],
    "--length-penalty": ["--repetition-penalty"],
    "--max-iters": ["--steps"],
    "--max-length": ["--length"],
    "--max-tokens": ["--length"],
    "--model-type": ["--cell"],
    "--num-layers": ["--layers"],
    "--num-samples": ["--samples"],
    "--optimiser": ["--optimizer"],
    "--overwrite": ["--force"],
    "--primetext": ["--prompt"],
    "--rnn-size": ["--width"],
    "--rnn-type": ["--cell"],
    "--seq-len": ["--context"],
    "--seq-length": ["--context"],
    "--silent": ["--quiet"],
    "--start": ["--prompt"],
    "--steps-per-epoch": ["--steps"],
    "--temp": ["--temperature"],
    "--time": ["--budget"],
    "--topk": ["--top-k"],
    "--topp": ["--top-p"],
}


# What reads one file, and could as well read several joined.
ONE_FILE = ("fill", "eval", "compress", "decompress")


def suggest(error: click.UsageError) -> None:
    """Adds to `error` what to give in place of an option or an argument that the command lacks."""
    if error.ctx is None:
        return
    options = {name for param in error.ctx.command.params for name in param.opts}
    if isinstance(error, click.NoSuchOption):
        for meant in MEANT.get(error.option_name, []):
            if meant.split()[0] in options:
                error.possibilities = None
                error.message += f" Did you mean {meant}?"
                return
    elif error.message.startswith("Got unexpected extra argument"):
        extra = error.message.partition("(")[2].removesuffix(")")
        if "--prompt" in options:
            error.message += f": a prompt is given by --prompt {shlex.quote(extra)}."
        elif error.ctx.command.name in ONE_FILE:
            error.message += ": one file is read; `cat` joins several, and - reads stdin."
