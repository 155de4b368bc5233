"""Audio-assisted pseudo-labels with a flexible adaptation cycle.

Source: arXiv 2506.12481. What the clip sounds like is mapped to video classes and combined with what the model sees into a
pseudo-label; ViTTA's losses plus cross-entropy to that label drive as many updates as the loss and the agreement of the views
ask for. The formulas are our reading (our spec, `tta.md` section 7). All parameters adapt, by SGD; losses in nats. The
prediction is the evaluation clip *after* the last kept update; the sound itself is not fused into it unless
`predict_with_audio`, which is fusion and belongs in a row of its own.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from earshot.adaptation import Clip, Context, Outcome, evaluate
from earshot.methods._alignment import Alignment, Targets, consistency, moving_average_weight, prepare, sgd
from earshot.methods._cycle import CycleHyper, verdict, views_agree
from earshot.methods._listening import Heard, ListeningHyper, mapped_audio, pseudo_label

PREDICTS, NEEDS_AUDIO, NEEDS_STATISTICS = "after", True, True


class Hyper(ListeningHyper, CycleHyper, extra="forbid"):
    """ViTTA's knobs, the pseudo-label's and the cycle's."""

    lr: float = Field(5e-5, gt=0)
    rho: float = Field(0.1, gt=0, le=1)
    ema_init: Literal["zero", "source"] = Field("zero", description="where the moving averages start; zero: as published")
    lambda_align: float = Field(1.0, ge=0)
    lambda_consis: float = Field(0.1, ge=0)
    lambda_pl: float = Field(1.0, ge=0)
    target: Literal["soft", "hard"] = "soft"
    tau_q: float = Field(0.0, ge=0, le=1, description="least confidence of a pseudo-label")
    pl_when_no_audio: bool = False
    refresh_pseudo_label: bool = False
    monitor: Literal["supervised", "total"] = "supervised"
    adapt_dropout: Literal["reference", "off"] = "off"
    predict_with_audio: bool = False


class _Pass(NamedTuple):
    """One forward pass over the views: whole loss, monitored loss, agreement, and the statistics it would commit."""

    loss: Tensor
    monitored: float
    agree: bool
    targets: Targets
    logits: Tensor


class _Target(NamedTuple):
    """A pseudo-label (K,), the weight of its loss, the weight of the sound in it, and its largest entry while soft."""

    q: Tensor
    weight: float
    alpha: float
    confidence: float


class Method:
    """Adapt to each clip by a cycle of updates towards its audio-assisted pseudo-label."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        if context.label_map is None:
            raise ValueError("audio_assisted needs a label map: set `audio_model` in the experiment")
        self.model, self.hyper, self.label_map = prepare(model, hyper.adapt_dropout), hyper, context.label_map
        self.alignment = Alignment(model, context.statistics, moving_average_weight(hyper.rho, context), hyper.ema_init)
        self.optimizer = sgd(model, hyper.lr)

    def adapt(self, clip: Clip) -> Outcome:
        """Run the cycle on the clip's views, then predict its evaluation clip: logits (K,)."""
        heard = self._listen(clip)
        n, stop, passes, kept, target = self._cycle(clip.views, heard)
        if kept is not None:
            self.alignment.commit(kept.targets)
        logits = evaluate(self.model, clip.evaluation)
        if self.hyper.predict_with_audio:
            logits = pseudo_label(logits.softmax(0), heard, self.hyper)[0].clamp(min=1e-30).log()
        return Outcome(
            logits,
            steps=n,
            stop=stop,
            heard=heard.q is not None,
            audio_class=int(heard.q.argmax()) if heard.q is not None else -1,
            kappa=heard.kappa,
            alpha=target.alpha,
            target_max=target.confidence,
            loss_first=passes[0].monitored,
            loss_last=(kept or passes[0]).monitored,
            agree=(kept or passes[0]).agree,
        )

    def _listen(self, clip: Clip) -> Heard:
        if clip.evidence is None:
            return Heard(None, 0.0)
        return mapped_audio(clip.evidence.logits, clip.evidence.heard, self.label_map, self.hyper)

    def _cycle(self, views: Tensor, heard: Heard) -> tuple[int, str, list[_Pass], _Pass | None, _Target]:
        """Returns kept updates, stop reason, all passes, the last pass at kept parameters, and the pseudo-label."""
        n, stop, target, restore = 0, "max", None, _nothing
        passes: list[_Pass] = []
        kept: _Pass | None = None
        while n < self.hyper.n_max:  # before the forward pass, so that n_max = 1 costs what ViTTA costs
            logits, targets = self.alignment.forward(views)
            if target is None or self.hyper.refresh_pseudo_label:
                target = self._target(logits.detach(), heard)
            passes.append(self._measure(logits, targets, target))
            losses = [step.monitored for step in passes]
            finite = bool(passes[-1].loss.isfinite())
            stop = verdict(n, losses, passes[-1].agree, self.hyper, finite) or "max"
            if stop in ("diverged", "rising"):
                restore()
                n = max(n - 1, 0)
                break
            kept = passes[-1]
            if stop == "converged":
                break
            restore = self._snapshot() if self.hyper.may_undo else _nothing
            self._update(kept.loss)
            n += 1
        assert target is not None
        return n, stop, passes, kept, target

    def _target(self, logits: Tensor, heard: Heard) -> _Target:
        q, alpha = pseudo_label(logits.softmax(-1).mean(0), heard, self.hyper)
        used = heard.q is not None or self.hyper.pl_when_no_audio
        confidence = float(q.max())
        weight = self.hyper.lambda_pl if used and confidence >= self.hyper.tau_q else 0.0
        if self.hyper.target == "hard":
            q = nn.functional.one_hot(q.argmax(), len(q)).to(q.dtype)
        return _Target(q, weight, alpha, confidence)

    def _measure(self, logits: Tensor, targets: Targets, target: _Target) -> _Pass:
        supervised = self.hyper.lambda_consis * consistency(logits)
        if target.weight:
            supervised = supervised + target.weight * soft_cross_entropy(logits, target.q)
        loss = self.hyper.lambda_align * self.alignment.loss(targets) + supervised
        monitored = supervised if self.hyper.monitor == "supervised" else loss
        return _Pass(loss, float(monitored.detach()), views_agree(logits.detach(), self.hyper), targets, logits.detach())

    def _update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _snapshot(self) -> Callable[[], Any]:
        """Remember parameters and optimiser state; calling the result puts them back."""
        parameters = list(self.model.parameters())
        held = [parameter.detach().clone() for parameter in parameters]
        momenta = [_momentum(self.optimizer, parameter) for parameter in parameters]

        @torch.no_grad()
        def restore() -> None:
            for parameter, old, momentum in zip(parameters, held, momenta, strict=True):
                parameter.copy_(old)
                self.optimizer.state[parameter]["momentum_buffer"] = momentum

        return restore


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy in nats of views (V, K) to one distribution (K,), averaged over views."""
    return -(target * logits.log_softmax(-1)).sum(-1).mean()


def _momentum(optimizer: torch.optim.Optimizer, parameter: Tensor) -> Tensor | None:
    """A copy of SGD's momentum of a parameter, None before its first step."""
    buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
    return None if buffer is None else buffer.clone()


def _nothing() -> None:
    """Undo of an update that was never made."""
