"""A classifier for noisy labels, from arrays, with scikit-learn's methods: an audit, and its network.

It inherits nothing: `import famus_jax` needs no scikit-learn, and `fit` does.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from famus_jax.audit.items import Items
    from famus_jax.audit.run import Known


class Classifier:
    """Learns from labels of which some are wrong, and says which.

    Networks in folds look at every label (`famus_jax.audit.run.audit`); the last one is trained on the
    labels that are left or mended, and predicts. Features get a perceptron or a linear classifier,
    images a small convolutional network.

    Args:
      classes: the classes in their order, also those without an example; None takes those of `y`,
        sorted. -1 is a class only if it is among them, else it marks what has no label.
      seed: of all that is random.
      seconds: train for at most about so long; None: no limit.

    Attributes:
      classes_: [C], as `y` writes them.
      label_issues_: `famus_jax.evidence.LabelIssues` of the labels given to `fit`, in their order; its
        labels are places in `classes_`.
      n_features_in_: D; of images H * W * C.

    Example:
      >>> X = np.repeat([[0.0, 0.0], [3.0, 3.0]], 40, 0) + np.random.default_rng(0).normal(size=(80, 2))
      >>> y = np.repeat(["cat", "dog"], 40)
      >>> y[5] = "dog"  # wrong
      >>> classifier = Classifier().fit(X, y)
      >>> classifier.predict([[0, 0], [3, 3]]).tolist(), classifier.score(X, y) > 0.9
      (['cat', 'dog'], True)
      >>> int(classifier.label_issues_.rank[5])
      1
    """

    def __init__(
        self,
        *,
        classes: Sequence[Any] | None = None,
        seed: int = 0,
        seconds: float | None = None,
    ):
        self.classes = classes
        self.seed = seed
        self.seconds = seconds

    def fit(self, X: Any, y: Any, trusted: Any = None) -> Classifier:
        """Finds wrong labels, and trains.

        Args:
          X: images, uint8 [N, H, W, C] or [N, H, W]; or features, numbers [N, D].
          y: N labels: whole numbers or text; None, nan or -1 for none.
          trusted: labels that are right: bool [N], or their positions; or more data, `(X, y)`.

        Raises:
          ValueError: for data, labels or trusted labels that can't be used; names the first.
          ModuleNotFoundError: without scikit-learn.
        """
        from famus_jax.audit import arrays

        inputs = arrays.inputs_of(X, fitting=True)
        more = arrays.pair_of(trusted)
        count, given = len(inputs), arrays.column_of(y, len(inputs))
        extra = arrays.inputs_of(more[0], fitting=True) if more else None
        if more and extra is not None:
            given = [*given, *arrays.column_of(more[1], len(extra), "trusted labels")]
        found = arrays.encoded(given, self.classes, np.asarray(y).dtype)
        items = arrays.items_of(inputs, found.labels[:count], found.names)
        known = arrays.known_of(items.labels, None if more else trusted)
        if extra is not None:
            from famus_jax.audit.known import with_trusted

            missing = np.flatnonzero(found.labels[count:] < 0)
            if missing.size:
                raise ValueError(
                    f"trusted example {missing[0]} has no label: give one, or leave it out"
                )
            others = arrays.items_of(extra, found.labels[count:], found.names)
            items, known = with_trusted(items, others._replace(name="trusted"), known)
        self._train(items, known, count)
        self.classes_ = found.classes
        self.n_features_in_ = int(np.prod(inputs.shape[1:]))
        self._shape = inputs.shape[1:]
        return self

    def _train(self, items: Items, known: Known, count: int) -> None:
        import jax

        from famus_jax.audit.known import of_the_first
        from famus_jax.audit.run import audit

        found = audit(items, known=known, seed=self.seed, seconds=self.seconds)
        self._audit = found._replace(variables=jax.device_get(found.variables))
        self.label_issues_ = of_the_first(count, found, items.labels[:count]).issues

    def predict_proba(self, X: Any) -> np.ndarray:
        """float32 [n, C], in the order of `classes_`.

        Raises:
          sklearn.exceptions.NotFittedError: before `fit`.
          ValueError: inputs of another kind or shape than `fit` was given.
        """
        if not self.__sklearn_is_fitted__():
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this Classifier is not fitted yet: call fit(X, y) first")
        from famus_jax.audit import arrays
        from famus_jax.audit.run import probabilities

        inputs = arrays.inputs_of(X)
        if inputs.shape[1:] != self._shape:
            if inputs.ndim == 2 == 1 + len(self._shape):
                raise ValueError(
                    f"X has {inputs.shape[1]} features, but Classifier is expecting "
                    f"{self.n_features_in_} features as input"
                )
            raise ValueError(
                f"X has examples of the shape {list(inputs.shape[1:])}; fit was given "
                f"{list(self._shape)}"
            )
        found = probabilities(self._audit, inputs)
        return found / found.sum(1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """[n], the most probable of `classes_`. Raises what `predict_proba` raises."""
        places = self.predict_proba(X).argmax(1)
        return self.classes_[places]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy on the labels `y`; what has none doesn't count.

        Raises:
          ValueError: if there are no labels; else what `predict_proba` raises.
        """
        from famus_jax.audit import arrays

        places = self.predict_proba(X).argmax(1)
        given = arrays.column_of(y, len(places))
        judged = arrays.encoded(given, list(self.classes_), np.asarray(y).dtype, others=True).labels
        labeled = judged >= 0
        if not labeled.any():
            raise ValueError("y has no labels to score with")
        weights = None if sample_weight is None else np.asarray(sample_weight)[labeled]
        return float(np.average((judged == places)[labeled], weights=weights))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor, by name."""
        del deep
        return {name: getattr(self, name) for name in _parameters()}

    def set_params(self, **params: Any) -> Classifier:
        """Changes arguments of the constructor.

        Raises:
          ValueError: for a name that is none.
        """
        for name, value in params.items():
            if name not in _parameters():
                raise ValueError(f"Classifier has no parameter {name!r}; it has {_parameters()}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        standard = inspect.signature(Classifier).parameters
        said = [f"{n}={v!r}" for n, v in self.get_params().items() if v is not standard[n].default]
        return f"Classifier({', '.join(said)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_audit")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(three_d_array=True),
        )


def _parameters() -> list[str]:
    return sorted(inspect.signature(Classifier).parameters)
