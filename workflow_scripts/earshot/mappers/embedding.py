"""Sentence embeddings: a sound speaks for the video classes whose names mean nearly the same, by cosine similarity.

Source: Reimers and Gurevych, "Sentence-BERT", EMNLP 2019, by the library sentence-transformers. A similarity is in [-1, 1];
what counts as near is our reading, so that every constant is a knob.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, Field

from earshot.files import fingerprint
from earshot.mappers import Exchange, MapperError, Question, called, place, rows_of


class Options(BaseModel, extra="forbid"):
    """The model, the sentences that names are put into in place of `{}`, and what counts as near."""

    model: str = Field("sentence-transformers/all-MiniLM-L6-v2", description="name on the Hugging Face hub, or a folder")
    revision: str | None = Field(None, description="of a model of the hub: a commit, so that it cannot change")
    sound: str = Field("{}", pattern=r"\{\}")
    video: str = Field("{}", pattern=r"\{\}")
    top: int = Field(3, ge=1, description="video classes of a sound at most")
    least: float = Field(0.45, ge=-1, le=1, description="cosine similarity below which a sound speaks for nothing")
    spread: float = Field(0.2, gt=0, description="how far above that a weight comes within 1/e of 1")


class Mapper:
    """Embeds all names once."""

    def __init__(self, question: Question, options: Options) -> None:
        self.question, self.options = question, options
        self.model, self.prompt = called(options.model), f"{options.sound}\n{options.video}"
        self.identity: dict[str, Any] = options.model_dump()

    def most_requests(self, sounds: int) -> int:
        """No server is asked."""
        return 0

    def ask(self, sounds: Sequence[str]) -> Iterator[Exchange]:
        """Answer for all sounds at once. Raises MapperError if the model cannot be loaded."""
        from sentence_transformers import SentenceTransformer

        options = self.options
        try:
            encoder = SentenceTransformer(
                place(options.model), revision=options.revision, device="cpu", trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise MapperError(
                f"sentence embeddings: '{options.model}' cannot be loaded ({type(error).__name__}); give the `model` as a "
                "folder that holds it, or the name of one on the Hugging Face hub"
            ) from error
        heard = encoder.encode([options.sound.replace("{}", s) for s in sounds], normalize_embeddings=True)
        seen = encoder.encode([options.video.replace("{}", c) for c in self.question.readable], normalize_embeddings=True)
        similarity = heard @ seen.T
        rows = rows_of(self.question, sounds, similarity, options.top, options.least, options.spread)
        yield Exchange(rows, request={"sentences": fingerprint([*sounds, *self.question.readable])})
