"""What every way of sampling begins with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.cli.prompts import Prompts
    from charlm.model_file import Model
    from charlm.sampling.engine import Engine
    from charlm.sampling.generate import Place, Row
    from charlm.sampling.text import Manner


@dataclass(frozen=True)
class Session:
    """A model on its engine, how it is to draw, and the place from which it goes on, if any."""

    engine: "Engine"
    model: "Model"
    manner: "Manner"
    prompts: "Prompts"
    place: "Place | None"

    def opening(self, text: str) -> list[int]:
        """The ids read before the first draw, of a prompt that may be empty."""
        from charlm.sampling.text import opening

        ids = self.prompts.ids(text)
        if self.place is None:
            ids = opening(self.model.tokenizer, self.model.records, ids)
        return ids.tolist()

    def row(self, k: int, ids: list[int], place: "Place | None") -> "Row":
        """Row k, to be drawn at `place`, where ids have been read already; without one they will.

        Without a place ids are read from where the session begins.
        """
        from charlm.sampling.generate import Row

        row = Row(k, ids, self.place) if place is None else Row(k, place=place)
        row.history.prompt = ids  # one list for all rows: nobody changes it
        return row
