"""`charlm export`: a model for programs that are not charlm."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from charlm.cli.options import PATH
from charlm.packages import require

if TYPE_CHECKING:
    from charlm.model_file import Model

TARGETS = ("onnx", "torch", "arpa")
KENLM_ORDER = 6  # what KenLM reads as it is built by default


@click.command("export", short_help="Write a model for programs that are not charlm.")
@click.argument("model", type=PATH)
@click.option(
    "--to",
    "target",
    type=click.Choice(TARGETS),
    required=True,
    help="What is to read it: an ONNX runtime, a program with torch, or one that reads n-grams.",
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

    --to arpa writes the counts alone, of a model trained with --ngram: a back-off file, as KenLM,
    SRILM and others read. A record's beginning is <s> and its end </s>. Whitespace in a token is
    written as bytes, <0x20> for a space.

    \b
    charlm export run --to onnx -o model.onnx
    charlm export run --to torch -o exported
    charlm export run --to arpa -o model.arpa
    """
    from charlm import model_file
    from charlm.cli.files import check_output
    from charlm.exporting import onnx_graph, torch_module
    from charlm.sampling.session import check_has_network, check_reads_on

    if target != "torch":
        check_output(output, force, (model,))
    if target == "onnx":
        require("onnx")
    loaded = model_file.load(model)
    if target == "arpa":
        _write_arpa(loaded, output)
        return
    check_reads_on(loaded, str(model))
    check_has_network(loaded, str(model))
    if target == "onnx":
        onnx_graph.save(loaded, output.absolute())
    else:
        torch_module.save(loaded, output, force=force)
    if loaded.ngram is not None:
        click.echo("the network alone: its counts are not part of an export", err=True)
    click.echo(f"{loaded.network.config.cell} for {target} -> {output}", err=True)


def _write_arpa(model: "Model", output: Path) -> None:
    from charlm.cli.files import sink
    from charlm.exporting import arpa

    with sink(output) as stream:
        order = arpa.write(model, stream)
    click.echo(f"counts up to order {order} -> {output}", err=True)
    if order > KENLM_ORDER:
        click.echo(
            f"KenLM reads orders up to {KENLM_ORDER}, unless it is built with"
            f" -DKENLM_MAX_ORDER={order}; `charlm train --ngram {KENLM_ORDER}` makes such a model.",
            err=True,
        )
