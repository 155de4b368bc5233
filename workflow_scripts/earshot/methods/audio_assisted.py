"""Audio-assisted pseudo-labels with a flexible adaptation cycle.

Source: arXiv 2506.12481. What the clip sounds like is mapped to video classes and combined with what the model sees into a
pseudo-label; ViTTA's losses plus cross-entropy to that label drive as many updates as the loss and the agreement of the views
ask for. The formulas are our reading (our spec, `tta.md` section 7). All parameters adapt, by SGD, or scales and shifts alone;
losses in nats. The prediction is the evaluation clip *after* the last kept update; the sound itself is not fused into it unless
`predict_with_audio`, which is fusion and belongs in a row of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from earshot.adaptation import Clip, Context, Outcome, evaluate
from earshot.contracts import DIVERGED
from earshot.methods._alignment import PUBLISHED, Alignment, AlignmentHyper, Targets, consistency, prepare
from earshot.methods._cycle import CycleHyper, verdict, views_agree
from earshot.methods._listening import Heard, ListeningHyper, fused, listened, pseudo_label

PREDICTS = "after"
NEEDS = ("views", "statistics", "audio")
BATCHED = False
TWO_PASS = False
FOR_BACKBONE = PUBLISHED


class Hyper(AlignmentHyper, ListeningHyper, CycleHyper, extra="forbid"):
    """ViTTA's knobs, the pseudo-label's and the cycle's."""

    lambda_pl: float = Field(1.0, ge=0, description="weight of the cross-entropy to the pseudo-label")
    target: Literal["soft", "hard"] = "soft"
    tau_q: float = Field(0.0, ge=0, le=1, description="least confidence of a pseudo-label")
    pl_when_no_audio: bool = Field(False, description="also adapt to the pseudo-label where the sound is not used")
    refresh_pseudo_label: bool = Field(False, description="make it anew in every pass")
    resample_views: bool = Field(False, description="draw other views for every pass")
    monitor: Literal["supervised", "total"] = Field("supervised", description="the loss that the cycle watches")
    adapt_dropout: Literal["reference", "off"] = Field("off", description="dropout would drown every change of the loss")
    predict_with_audio: bool = False


class _Pass(NamedTuple):
    """One forward pass over the views: whole loss, monitored loss, whether both are finite, agreement, what it would commit."""

    loss: Tensor
    monitored: float
    finite: bool
    agree: bool
    targets: Targets


class _Target(NamedTuple):
    """A pseudo-label (K,), the weight of its loss (None: none), the sound's in it, and its largest entry while soft."""

    q: Tensor
    weight: float | Tensor | None
    alpha: float
    confidence: Tensor


class Method:
    """Adapt to each clip by a cycle of updates towards its audio-assisted pseudo-label."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model, self.hyper, self.context = model, hyper, context
        self.optimizer = prepare(model, hyper)
        self.alignment = Alignment(model, hyper, context)

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Run the cycle on the clip's views, then predict its evaluation clip: logits (K,)."""
        (clip,) = clips
        heard = listened(clip.evidence, self.context, self.hyper)
        n, stop, first, kept, target = self._cycle(clip, heard)
        if kept is not None:
            self.alignment.commit(kept.targets)
        logits = evaluate(self.model, clip.evaluation)
        if self.hyper.predict_with_audio:
            logits, _ = fused(logits, heard, self.hyper)
        last, listened_to = kept or first, self._listened_to(heard, target)
        outcome = Outcome(
            logits,
            steps=n,
            stop=stop,
            heard=listened_to,
            audio_class=heard.best if listened_to else -1,
            kappa=heard.kappa,
            alpha=target.alpha,
            target_max=target.confidence,
            loss_first=first.loss.detach(),
            loss_last=last.loss.detach(),
            agree=last.agree,
        )
        return [outcome]

    def _listened_to(self, heard: Heard, target: _Target) -> bool:
        """Whether the sound had a part in the update or the prediction."""
        speaks = heard.q is not None and (target.alpha > 0 or self.hyper.combine == "mask")
        return speaks and (target.weight is not None or self.hyper.predict_with_audio)

    def _cycle(self, clip: Clip, heard: Heard) -> tuple[int, str, _Pass, _Pass | None, _Target]:
        """Returns kept updates, stop reason, the first pass, the last one at kept parameters, and the pseudo-label."""
        n, stop, target, restore = 0, "max", None, _nothing
        passes: list[_Pass] = []
        kept: _Pass | None = None
        while n < self.hyper.n_max:  # before the forward pass, so that n_max = 1 costs what ViTTA costs
            logits, targets = self.alignment.forward(self._views(clip, n))
            if target is None or self.hyper.refresh_pseudo_label:
                target = self._target(logits.detach(), heard)
            passes.append(self._measure(logits, targets, target))
            losses = [step.monitored for step in passes]
            stop = verdict(n, losses, passes[-1].agree, self.hyper, passes[-1].finite) or "max"
            if stop in (DIVERGED, "rising"):
                restore()
                n = max(n - 1, 0)
                break
            kept = passes[-1]
            if stop == "converged":
                break
            judged = self.hyper.may_undo and n + 1 < self.hyper.n_max  # nothing is measured after the last update
            restore = self._snapshot() if judged else _nothing
            self._update(kept.loss)
            n += 1
        assert target is not None
        return n, stop, passes[0], kept, target

    def _views(self, clip: Clip, n: int) -> Tensor:
        if self.hyper.resample_views and n and clip.redraw is not None:
            return clip.redraw(n)
        return clip.views

    def _target(self, logits: Tensor, heard: Heard) -> _Target:
        q, alpha = pseudo_label(logits.softmax(-1).mean(0), heard, self.hyper)
        used = heard.q is not None or self.hyper.pl_when_no_audio
        confidence = q.max()
        weight: float | Tensor | None = self.hyper.lambda_pl if used and self.hyper.lambda_pl else None
        if weight is not None and self.hyper.tau_q:
            weight = weight * (confidence >= self.hyper.tau_q)
        if self.hyper.target == "hard":
            q = nn.functional.one_hot(q.argmax(), len(q)).to(q.dtype)
        return _Target(q, weight, alpha, confidence)

    def _measure(self, logits: Tensor, targets: Targets, target: _Target) -> _Pass:
        supervised = self.hyper.lambda_consis * consistency(logits)
        if target.weight is not None:
            supervised = supervised + target.weight * soft_cross_entropy(logits, target.q)
        loss = self.hyper.lambda_align * self.alignment.loss(targets) + supervised
        monitored = supervised if self.hyper.monitor == "supervised" else loss
        agree = views_agree(logits.detach(), self.hyper)
        # the cycle's decisions need numbers: read from the device at once
        value, finite, agreed = torch.stack([monitored.detach(), loss.isfinite(), agree]).tolist()
        return _Pass(loss, value, bool(finite), bool(agreed), targets)

    def _update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _snapshot(self) -> Callable[[], Any]:
        """Remember trainable parameters and the optimiser's state; calling the result puts them back."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        held = [parameter.detach().clone() for parameter in parameters]
        states = [_copied(self.optimizer.state.get(parameter, {})) for parameter in parameters]

        @torch.no_grad()
        def restore() -> None:
            for parameter, old, state in zip(parameters, held, states, strict=True):
                parameter.copy_(old)
                self.optimizer.state[parameter] = state

        return restore


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy in nats of views (V, K) to one distribution (K,), averaged over views."""
    return -(target * logits.log_softmax(-1)).sum(-1).mean()


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}


def _nothing() -> None:
    """Undo of an update that was never made."""
