"""What the table of methods says of one: how it is built, what it trains on, what it needs."""

from __future__ import annotations

from typing import Literal, NamedTuple

from famus_jax import losses
from famus_jax.core.method import Method, mean_of
from famus_jax.train import method_builders as build
from famus_jax.train import small_loss
from famus_jax.train.method_builders import Builder
from famus_jax.train.method_values import (
    DEFAULT_META,
    Facts,
    MetaConfig,
    MetaExamples,
    MetaLossName,
    MethodValues,
)

Batches = Literal[
    "noisy",
    "clean",
    "mended",
    "trusted",
    "noisy+trusted",
    "noisy+mixup",
    "noisy+mentormix",
    "noisy+elr_plus",
    "noisy+m_correction",
    "mixed",
]
Kind = Literal[
    "baseline",
    "weights",
    "label correction",
    "memory",
    "robust loss",
    "selection",
    "mixing",
    "long tail",
    "two networks",
]


class Meta(NamedTuple):
    """What θ is learned from: the loss, and whose."""

    loss: MetaLossName
    examples: MetaExamples


class MethodSpec(NamedTuple):
    """One method.

    Attributes:
      title: for tables and legends.
      batches: the training batches: the training set with noisy or clean labels, or with those that
        an audit mends; the trusted set; a noisy batch with a whole meta batch of trusted examples
        (which oversamples them), mixed with itself, plainly or as MentorMix, ELR+ or
        M-correction does, or of a labeled and an unlabeled part.
      build: it, of a config's values and the facts; methods that share its name share
        compiled steps.
      kind: what sort of method it is, for the list of them.
      source: authors, venue and link; empty for baselines.
      learns: whether something is learned from a meta batch: of trusted examples, or of others
        (`meta_examples`), or, with two networks, of those whose labels look right.
      meta_loss, meta_examples: in the place of the config's `meta.loss` and `meta.examples`.
      remembers: whether it keeps something of every training example (`Method.memory`).
      reads_features: whether it needs the network's features besides its logits.
      reads_counts: whether it needs the number of training examples per class.
      scales_logits: whether its loss scales the logits, so that they should be cosines.
      needs: the method whose run it continues or re-reads.
      early_stop: the rows of `needs`, stopped at the best noisy-validation accuracy.
      networks: one, or two that are trained as one (`famus_jax.forward.pair`).
      splits: the two networks are trained apart, and choose a pseudo-clean set for each other; then
        what is learned needs no trusted labels.
    """

    title: str
    batches: Batches = "noisy"
    build: Builder = build.plain("cross_entropy", build.cross_entropy)
    kind: Kind = "baseline"
    source: str = ""
    learns: bool = False
    meta_loss: MetaLossName | None = None
    meta_examples: MetaExamples | None = None
    remembers: bool = False
    reads_features: bool = False
    reads_counts: bool = False
    scales_logits: bool = False
    needs: str | None = None
    early_stop: bool = False
    networks: int = 1
    splits: bool = False

    def meta(self, section: MetaConfig) -> Meta:
        """Its meta loss and meta examples under a config's section."""
        return Meta(self.meta_loss or section.loss, self.meta_examples or section.examples)

    def trusts(self, section: MetaConfig = DEFAULT_META) -> bool:
        """Whether it needs trusted examples, under a config's section `meta`."""
        learns = self.learns and not self.splits
        return "trusted" in self.batches or (learns and self.meta(section).examples == "trusted")

    def features(self, section: MetaConfig) -> bool:
        """Whether the forward pass must give the network's features."""
        return self.reads_features or (self.learns and self.meta(section).loss == "clid")

    def made(self, values: MethodValues, facts: Facts) -> Method:
        """The method, with the meta loss and the memory that its meta examples need."""
        method = self.build(values, facts)
        if not self.learns or self.splits:
            return method
        loss, examples = self.meta(values.meta)
        if loss == "mae":
            method = method._replace(meta_loss=mean_of(losses.mean_absolute_error()))
        elif loss == "clid":
            method = method._replace(meta_loss=losses.clid(values.meta.temperature))
        if examples == "small_loss":
            kept = small_loss.memory(facts.num_examples, values.meta.decay)
            method = method._replace(memory=kept)
        return method
