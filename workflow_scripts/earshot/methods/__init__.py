"""Adaptation methods: one file each. A plug-in defines

* `Hyper(BaseModel, extra="forbid")` with the paper's values as defaults;
* `Method(model, hyper, context)` with `adapt(clip) -> Outcome`;
* `PREDICTS`: "before" or "after" the update, "none" without one;
* `NEEDS_AUDIO` and `NEEDS_STATISTICS`.

A method may change the model it is given and keeps its state between clips; the stream resets it by restoring the source
weights and building it anew.
"""
