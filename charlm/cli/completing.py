"""Every record of stdin is a prompt; what follows each goes to stdout, in order."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from charlm.cli.bars import say_waiting
from charlm.cli.prompts import tell_strange
from charlm.errors import DataError

if TYPE_CHECKING:
    from charlm.cli.writers import Writer
    from charlm.sampling.generate import Row
    from charlm.sampling.session import Session


def complete_lines(session: "Session", *, null: bool, echo: bool, as_json: bool) -> None:
    """Completes each line, or what ends with a NUL, once: record k, from 0, is sample k.

    What has arrived is drawn side by side, and told as soon as a line's turn comes.
    """
    from charlm.cli.writers import Json, Plain
    from charlm.measuring import records
    from charlm.sampling.text import sample_texts

    prompts: dict[int, str] = {}
    end = "\0" if null else "\n"

    def shown(row: "Row") -> str:
        return session.prompts.shown(prompts[row.k]) if echo else ""

    failed: list[DataError] = []

    def rows(found: list[records.Record], first: int) -> Iterator["Row"]:
        for k, record in enumerate(found, first):
            try:
                ids = session.opening(record.text)
            except DataError as error:
                # What comes before it is completed first.
                what = "record" if null else "line"
                failed.append(DataError(f"{record.file}, {what} {record.number}: {error}"))
                return
            prompts[k] = record.text
            yield session.row(k, ids, None)

    writer: Writer = Plain(shown, end)
    if as_json:
        writer = Json(shown, lambda row: prompts[row.k], session.manner.seed)
    first = 0
    say_waiting()
    form = records.Form(null=null, errors=session.prompts.errors, crlf=not null)
    for found in records.read([], form):
        sample_texts(
            session.engine,
            session.model.tokenizer,
            rows(found, first),
            session.manner,
            emit=writer.emit,
            ended=writer.ended,
        )
        if failed:
            raise failed[0]
        first += len(found)
        prompts.clear()
    tell_strange(session.prompts)
