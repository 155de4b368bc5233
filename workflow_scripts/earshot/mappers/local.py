"""A causal language model on this machine: how much likelier does a sound make the name of a video class?

The score of a class is log P(its name | the sound) - log P(its name | no sound), in nats for each token of the name: the
length of a name and how common it is cancel, so that small base models, which follow no instructions, can answer. The
correction by the prior is that of Holtzman et al., "Surface Form Competition", EMNLP 2021 (domain-conditional PMI); the
mean over tokens and the thresholds are our reading and knobs.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from earshot.files import fingerprint
from earshot.mappers import Exchange, MapperError, Question, called, place, rows_of
from earshot.state_files import first_line


class Options(BaseModel, extra="forbid"):
    """The model, the sentence that ends where the name of a video class follows, and what counts as likely."""

    model: str = Field(description="name on the Hugging Face hub, a folder, or a .gguf file")
    revision: str | None = Field(None, description="of a model of the hub: a commit, so that it cannot change")
    prompt: str = Field("The sound of {} is heard. The video shows", pattern=r"\{\}")
    no_sound: str = Field("A sound is heard. The video shows", description="the same sentence without the sound: the prior")
    top: int = Field(3, ge=1, description="video classes of a sound at most")
    least: float = Field(2.0, description="score below which a sound speaks for nothing, nats a token")
    spread: float = Field(2.0, gt=0, description="how far above that a weight comes within 1/e of 1, nats a token")
    batch: int = Field(16, ge=1, description="sounds that are kept together, so that a killed job goes on from there")
    names: int = Field(64, ge=1, description="names that are scored at once")


class Mapper:
    """Scores every pair of a sound and a class."""

    def __init__(self, question: Question, options: Options) -> None:
        self.question, self.options = question, options
        self.model, self.prompt = called(options.model), f"{options.prompt}\n{options.no_sound}"
        self.identity: dict[str, Any] = options.model_dump(exclude={"batch", "names"})

    def most_requests(self, sounds: int) -> int:
        """No server is asked."""
        return 0

    def ask(self, sounds: Sequence[str]) -> Iterator[Exchange]:
        """Answer for a batch of sounds at a time. Raises MapperError if the model cannot be loaded."""
        scorer = Scorer(*load(place(self.options.model), self.options.revision), self.options.names)
        prior = scorer.likelihoods(self.options.no_sound, self.question.readable)
        for start in range(0, len(sounds), self.options.batch):
            some = tuple(sounds[start : start + self.options.batch])
            prompts = [self.options.prompt.replace("{}", sound) for sound in some]
            scores = np.stack([scorer.likelihoods(p, self.question.readable) - prior for p in prompts])
            rows = rows_of(self.question, some, scores, self.options.top, self.options.least, self.options.spread)
            yield Exchange(rows, request=prompts, answer={"scores_sha256": fingerprint(np.round(scores, 3).tolist())})


def load(model: str, revision: str | None = None) -> tuple[Any, nn.Module]:
    """Tokenizer and model in float32, of a hub's name, a folder or a .gguf file; raises MapperError."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = Path(model)
    given: dict[str, Any] = {"trust_remote_code": False, "revision": revision or "main"}
    if file.suffix == ".gguf":
        model, given = str(file.parent), {"gguf_file": file.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, **given)
        found = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, **given)
    except (OSError, ValueError, ImportError) as error:
        raise MapperError(
            f"language model '{file.name}' cannot be loaded ({type(error).__name__}: {first_line(error)}); give the "
            "`model` as a folder, a .gguf file (which needs the packages gguf and accelerate) or a name on the Hugging Face hub"
        ) from error
    return tokenizer, found.eval()


class Scorer:
    """Likelihoods of names after a prompt, which is read once for `at_once` names."""

    def __init__(self, tokenizer: Any, model: nn.Module, at_once: int) -> None:
        self.tokenizer, self.model, self.at_once = tokenizer, model, at_once

    @torch.no_grad()
    def likelihoods(self, prompt: str, names: Sequence[str]) -> np.ndarray:
        """Mean log-likelihood (C,) of the tokens of each name after a prompt, nats a token."""
        read = self.tokenizer(prompt, return_tensors="pt").input_ids
        tokens = [self.tokenizer(f" {name}", add_special_tokens=False).input_ids for name in names]
        found = [self._scored(read, tokens[i : i + self.at_once]) for i in range(0, len(tokens), self.at_once)]
        return torch.cat(found).numpy()

    def _scored(self, read: Tensor, tokens: list[list[int]]) -> Tensor:
        """Mean log-likelihood (C,) of the tokens of each name; names are padded at the end, where nothing sees it."""
        first = self.model(read, use_cache=True, logits_to_keep=1)
        cache = first.past_key_values
        cache.batch_repeat_interleave(len(tokens))
        longest = max(map(len, tokens))
        padded = torch.tensor([line + [0] * (longest - len(line)) for line in tokens])
        after = self.model(padded, past_key_values=cache).logits[:, :-1]
        logits = torch.cat([first.logits.expand(len(tokens), -1, -1), after], 1).log_softmax(-1)
        each = logits.gather(-1, padded[..., None])[..., 0]
        lengths = torch.tensor([len(line) for line in tokens])
        inside = torch.arange(longest) < lengths[:, None]
        return (each * inside).sum(1) / lengths
