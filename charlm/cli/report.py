"""`charlm report`: a run as one page for a browser."""

from pathlib import Path

import click

from charlm.cli.bars import reading
from charlm.cli.files import check_output, sink
from charlm.cli.options import PATH


@click.command("report", short_help="Make one page of a run, for a browser.")
@click.argument("run", type=PATH)
@click.option(
    "-o", "--output", "--out", type=PATH, required=True, metavar="FILE", help="The page to write."
)
@click.option(
    "--corpus", type=PATH, metavar="DATA", help="Where the run's corpus lies, if it has moved."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(run: Path, output: Path, corpus: Path | None, force: bool) -> None:
    """Make one page of RUN, a run directory, that a browser opens without any network.

    It has the learning curves; what the network wrote at each validation; a passage of the
    validation text with how likely each character was and what else was; the same passage in the
    colours of any of up to 256 units; how far back the network remembers and how far back it
    learns; the settings, and the command that makes the run again. The page is below 2 MB, light or
    dark as the browser is, and can be used with the keyboard alone. It takes torch.

    \b
    charlm report run -o report.html
    charlm report run -o report.html --corpus data --force
    """
    check_output(output, force)

    from charlm.reporting.source import open_run

    source = open_run(run, corpus)

    # torch takes a second or two to load: after the checks above
    from charlm.reporting.facts import gather
    from charlm.reporting.page import page

    text = page(gather(source, lambda line: click.echo(line, err=True), reading))
    with sink(output) as out:
        out.write(text.encode("ascii"))
