"""Adaptation methods: one file each. A plug-in defines

* `Hyper(BaseModel, extra="forbid")` with the paper's values as defaults;
* `Method(model, hyper, context)` with `model` and `adapt(clips) -> list[Outcome]`: see `earshot.adaptation`;
* `PREDICTS`: "before" or "after" the update, "none" without one;
* `NEEDS`, any of "views" (augmented views), "audio" (scores and a label map), "statistics" (of the source model's layers) and
  "importance" (of its parameters);
* `BATCHED`: it takes batches of clips, not one at a time;
* `TWO_PASS`: under the protocol `two_pass` it adapts to the whole list before any of it is predicted, by its `model` in
  evaluation mode. If it has `look(clips)`, it is shown all batches before it adapts to the first. If it has `succeed(lost)`, it
  takes over from a method that has diverged what does not depend on the model.

It may define `FOR_BACKBONE`, which maps a backbone plug-in to those defaults that were published for it. A method may change
the model that it is given and keeps its state between clips; the stream resets it by building it anew on a copy of the source
model. Random numbers come from torch's generator, which the stream seeds before every batch. Where a backbone has nothing to
adapt, `Method` raises NotApplicable.
"""
