"""Experiments: a config in, trained networks, a table and a picture out.

Bottom to top: `config` (typed and validated), `methods` (what each row of a table means), `data_setup`
(splits, noise, streams), `evaluation`, `records`, `checkpoint`, `loop` (one run), `summary` and
`pictures` (what people read), `experiment` (all runs).
"""
