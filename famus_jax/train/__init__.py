"""Experiments: a config in, trained networks, a table and a picture out.

Bottom to top: `choices`, `data_config`, `config` (typed and validated), `methods` (what each row of a
table means), `data_setup` (splits and noise), `lazy_images`, `streams` (batches, in memory or from
disk), `evaluation`, `files`, `records`, `checkpoint`, `loop` (one run), `summary` and `pictures`
(what people read), `experiment` (all runs).
"""
