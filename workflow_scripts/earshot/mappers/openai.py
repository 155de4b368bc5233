"""A language model behind any OpenAI-compatible endpoint: OpenAI itself, or vLLM, llama.cpp, Ollama and the like.

The template of the prompt is a file in `earshot/prompts/`, by version. The key is read from the environment and goes nowhere
but into the request's header.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from earshot import answers
from earshot.chat import ChatError, Client, Reply
from earshot.label_map import Row
from earshot.mappers import Exchange, MapperError, Question

_PROMPTS = Path(__file__).parent.parent / "prompts"


class Options(BaseModel, extra="forbid"):
    """The endpoint, the prompt, and what may be spent on it."""

    base_url: str = "https://api.openai.com/v1"
    model: str
    key_env: str = Field("OPENAI_API_KEY", pattern=r"^[A-Z_][A-Z0-9_]*$", description="environment variable of the key")
    prompt: str = Field("label_map_v1", pattern=r"^[a-z0-9_]+$", description="template in earshot/prompts/")
    structured: Literal["schema", "object", "none"] = Field("schema", description="what the endpoint can be held to")
    temperature: float | None = Field(0.0, ge=0, description="none: the endpoint's own")
    batch: int = Field(25, ge=1, description="sounds of a request")
    repairs: int = Field(2, ge=0, description="further requests for what was wrong in an answer")
    attempts: int = Field(5, ge=1, description="of each request, where the failure may pass")
    deadline_s: float = Field(300.0, gt=0, description="how long an answer may take; it may be paid for even if it is late")
    max_requests: int = Field(400, ge=1, description="of a job: none is sent beyond")


class Mapper:
    """Asks for batches of sounds, and once more for what was wrong in an answer."""

    def __init__(self, question: Question, options: Options) -> None:
        self.question, self.options = question, options
        path = _PROMPTS / f"{options.prompt}.txt"
        if not path.is_file():
            legal = ", ".join(sorted(file.stem for file in _PROMPTS.glob("*.txt")))
            raise MapperError(f"no prompt '{options.prompt}'; available: {legal}")
        self.model, self.prompt = options.model, path.read_text(encoding="utf-8")
        self.identity: dict[str, Any] = {"model": options.model, "temperature": options.temperature}

    def most_requests(self, sounds: int) -> int:
        """Batches times repairs times attempts, or what is allowed if that is less."""
        options = self.options
        return min(-(-sounds // options.batch) * (1 + options.repairs) * options.attempts, options.max_requests)

    def ask(self, sounds: Sequence[str]) -> Iterator[Exchange]:
        """Ask in batches; raises MapperError before the first if they are too many, or where the endpoint fails."""
        options = self.options
        batches = [sounds[i : i + options.batch] for i in range(0, len(sounds), options.batch)]
        if len(batches) > options.max_requests:
            raise MapperError(
                f"{len(sounds)} sounds in batches of {options.batch} need {len(batches)} requests or more, but `max_requests` "
                f"is {options.max_requests}: raise it, or `batch`"
            )
        try:
            client = Client(
                options.base_url, options.model, options.key_env, deadline_s=options.deadline_s, attempts=options.attempts,
                most_requests=options.max_requests,
            )  # fmt: skip
        except ChatError as error:
            raise MapperError(str(error)) from None
        for batch in batches:
            sent = client.sent
            try:
                for exchange in self._asked(client, list(batch)):
                    sent += exchange.requests
                    yield exchange
            except ChatError as error:
                yield Exchange([], problems=[str(error)], requests=client.sent - sent)  # they may be paid for, too
                raise MapperError(str(error)) from None

    def _asked(self, client: Client, sounds: list[str]) -> Iterator[Exchange]:
        """One batch: an exchange, and one more for each repair of what is still wrong."""
        complaint = ""
        for left in range(self.options.repairs, -1, -1):
            messages = [{"role": "user", "content": self._prompt(sounds) + complaint}]
            sent, reply = client.sent, client.complete(messages, **self._settings(sounds))
            parsed = answers.parse(reply.text, sounds, self.question.classes)
            taken = {**parsed.rows, **(parsed.doubtful if not left else {})}  # unknown names are dropped at last
            yield self._exchange(messages, reply, list(taken.values()), parsed, client.sent - sent, bool(left))
            sounds = [sound for sound in sounds if sound not in taken]
            if not sounds:
                return
            complaint = "\n\nAn answer to this was wrong:\n" + "\n".join(f"- {told}" for told in parsed.problems[:20])

    def _exchange(
        self, messages: list[dict[str, str]], reply: Reply, rows: list[Row], parsed: answers.Parsed, sent: int, again: bool
    ) -> Exchange:
        answer = {"text": reply.text, "finish": reply.finish}
        dropped = [] if again else [told for names in parsed.dropped.values() for told in names]
        return Exchange(rows, {"messages": messages}, answer, parsed.problems, dropped, reply.tokens, sent)

    def _prompt(self, sounds: Sequence[str]) -> str:
        def listed(names: Sequence[str]) -> str:
            return "\n".join(f"- {name}" for name in names)

        return self.prompt.format(classes=listed(self.question.classes), sounds=listed(sounds))

    def _settings(self, sounds: Sequence[str]) -> dict[str, Any]:
        options = self.options
        settings: dict[str, Any] = {} if options.temperature is None else {"temperature": options.temperature}
        if options.structured == "object":
            settings["response_format"] = {"type": "json_object"}
        elif options.structured == "schema":
            schema = {"name": "label_map", "strict": True, "schema": _schema(sounds, self.question.classes)}
            settings["response_format"] = {"type": "json_schema", "json_schema": schema}
        return settings


def _schema(sounds: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """A JSON schema that allows no names but those of the two vocabularies."""
    target = _object({"label": {"type": "string", "enum": list(classes)}, "weight": {"type": "number"}})
    labels = {"type": "array", "items": target}
    row = _object({"audio_label": {"type": "string", "enum": list(sounds)}, "video_labels": labels})
    return _object({"rows": {"type": "array", "items": row}})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
