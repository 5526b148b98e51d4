"""Experiments: a config in, trained networks, a table and a plot out.

Bottom to top: `schema` and `data_config` (values of a config), `methods` (every row of a table: its
values, how it is built, what it trains on), `estimator_spec`, `build`, `config` (typed and validated);
`lazy_images`, `data_setup` (splits and noise), `streams` (batches, in memory or from disk);
`evidence`, `evaluation`, `clock`, `placement` (devices), `records`, `checkpoint`, `loop` (one run);
`setting` (what runs share), `one_network` and `two_networks` (what opens a run); `results`, `plots`,
`curves`, `label_issues` (what people read), `predictors` (what `famus predict` reads); `experiment`
(all runs).
"""
