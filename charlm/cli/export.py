"""`charlm export`: a model for programs that are not charlm."""

from pathlib import Path

import click

from charlm.cli.options import PATH
from charlm.packages import require

TARGETS = ("onnx", "torch")


@click.command("export", short_help="Write a model for programs that are not charlm.")
@click.argument("model", type=PATH)
@click.option(
    "--to",
    "target",
    type=click.Choice(TARGETS),
    required=True,
    help="What is to read it: an ONNX runtime, or a program with torch.",
)
@click.option(
    "-o",
    "--output",
    "--out",
    type=PATH,
    required=True,
    help="The file to write, or for torch the folder.",
)
@click.option("--force", is_flag=True, help="Replace an existing export.")
def command(model: Path, target: str, output: Path, force: bool) -> None:
    """Export MODEL, a run directory or a model file, for programs that are not charlm.

    --to onnx writes one file: a step of the network as a graph, with `ids` and the state going in,
    `logits` and the next state coming out, for any number of texts at once. Every cell can be
    exported. The tokenizer and what to begin with stand in the metadata.

    --to torch writes a folder: a state dict (safetensors, never a pickle), the tokenizer, and a
    short module that loads them and needs torch and safetensors alone. It is for rnn, rnn-relu,
    lstm and gru, with a plain head and without attention.

    Both compute what charlm's network does, but for rounding, and go without the counts that may
    stand beside it. --to onnx needs onnx: pip install onnx.

    \b
    charlm export run --to onnx -o model.onnx
    charlm export run --to torch -o exported
    """
    from charlm import model_file
    from charlm.cli.files import check_output
    from charlm.exporting import onnx_graph, torch_module
    from charlm.sampling.session import check_reads_on

    if target == "onnx":
        check_output(output, force, (model,))
        require("onnx")
    loaded = model_file.load(model)
    check_reads_on(loaded, str(model))
    if target == "onnx":
        onnx_graph.save(loaded, output.absolute())
    else:
        torch_module.save(loaded, output, force=force)
    if loaded.ngram is not None:
        click.echo("the network alone: its counts are not part of an export", err=True)
    click.echo(f"{loaded.network.config.cell} for {target} -> {output}", err=True)
