"""A classifier for noisy labels, from arrays, with scikit-learn's methods: an audit, and its network.

It inherits nothing: `import famus_jax` needs no scikit-learn, and `fit` does.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from famus_jax.audit.items import Items
    from famus_jax.audit.run import Known

_NO_LABEL = -1


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
        inputs = _inputs(X, fitting=True)
        more = _pair(trusted)
        count, given = len(inputs), _column(y, len(inputs))
        extra = _inputs(more[0], fitting=True) if more else None
        if more and extra is not None:
            given = [*given, *_column(more[1], len(extra), "trusted labels")]
        found = _encoded(given, self.classes, np.asarray(y).dtype)
        items = _items(inputs, found.labels[:count], found.names)
        known = _known(items.labels, None if more else trusted)
        if extra is not None:
            from famus_jax.audit.known import with_trusted

            missing = np.flatnonzero(found.labels[count:] < 0)
            if missing.size:
                raise ValueError(
                    f"trusted example {missing[0]} has no label: give one, or leave it out"
                )
            others = _items(extra, found.labels[count:], found.names)
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
        self.label_issues_ = of_the_first(count, found).issues

    def predict_proba(self, X: Any) -> np.ndarray:
        """float32 [n, C], in the order of `classes_`.

        Raises:
          sklearn.exceptions.NotFittedError: before `fit`.
          ValueError: inputs of another kind or shape than `fit` was given.
        """
        if not self.__sklearn_is_fitted__():
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("this Classifier is not fitted yet: call fit(X, y) first")
        from famus_jax.audit.run import probabilities

        inputs = _inputs(X)
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
        found = self.predict(X)
        given = _column(y, len(found))
        judged = _encoded(given, list(self.classes_), np.asarray(y).dtype, others=True).labels
        labelled = judged != _NO_LABEL
        if not labelled.any():
            raise ValueError("y has no labels to score with")
        right = self.classes_[np.maximum(judged, 0)] == found
        right &= judged < len(self.classes_)
        weights = None if sample_weight is None else np.asarray(sample_weight)[labelled]
        return float(np.average(right[labelled], weights=weights))

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


class _Encoded(NamedTuple):
    labels: np.ndarray  # int32 [N], -1 for none; C for one that is no class, if asked for
    classes: np.ndarray  # [C], as they were written
    names: tuple[str, ...]


def _inputs(X: Any, fitting: bool = False) -> np.ndarray:
    """uint8 [N, H, W, C] or float32 [N, D]."""
    images = np.ndim(X) in (3, 4)
    if images:
        found = np.asarray(X)
        if found.dtype != np.uint8:
            raise ValueError(
                f"X is {found.dtype} {list(found.shape)}: images are uint8, 0 to 255 "
                "(np.uint8(255 * X) of images in [0, 1]); features are [N, D]"
            )
        if not found.size:
            raise ValueError(f"X has the shape {list(found.shape)}: there are no images")
        return found[..., None] if found.ndim == 3 else found
    try:
        from sklearn.utils import check_array
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "Classifier needs scikit-learn: pip install famus_jax[train]"
        ) from None
    return check_array(
        X, dtype=np.float32, estimator="Classifier", ensure_min_samples=2 if fitting else 1
    )


def _pair(trusted: Any) -> tuple[Any, Any] | None:
    """(X, y), if that is what `trusted` is."""
    if isinstance(trusted, tuple) and len(trusted) == 2 and np.ndim(trusted[0]) >= 2:
        return trusted
    return None


def _column(y: Any, count: int, what: str = "y") -> list[Any]:
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    values = y if isinstance(y, list | tuple) else np.asarray(y)
    shape = np.shape(values)
    if len(shape) == 2 and shape[1] == 1:
        import warnings

        from sklearn.exceptions import DataConversionWarning

        warnings.warn(
            f"{what} is a column-vector; a 1d array was expected, and its one column is taken",
            DataConversionWarning,
            stacklevel=3,
        )
        values, shape = np.ravel(np.asarray(values)), shape[:1]
    if len(shape) != 1:
        raise ValueError(f"{what} has the shape {list(shape)}; expected one label per example, [N]")
    if len(values) != count:
        raise ValueError(f"{what} has {len(values)} labels, and there are {count} examples")
    return list(values)


def _encoded(
    values: list[Any], classes: Sequence[Any] | None, dtype: np.dtype, *, others: bool = False
) -> _Encoded:
    """Places in the sorted classes that occur, or in those given."""
    from famus_jax.audit.labels import read_labels

    named = () if classes is None else tuple(map(str, classes))
    if others:  # a label of another class is wrong whatever is predicted, and no error
        known = set(named)
        extra = sorted({str(v) for v in read_labels(values, "y")[1]} - known)
        named = (*named, *extra)
    labels, names = read_labels(
        values, "y", at=lambda row: f"y at position {row}", class_names=named
    )
    if classes is not None:
        return _Encoded(labels, np.asarray(classes), names)
    first = {int(c): i for i, c in reversed(list(enumerate(labels)))}
    written = [values[first[c]] for c in range(len(names))]
    numbers = all(isinstance(v, int | float | np.integer | np.floating | np.bool_) for v in written)
    if numbers and dtype.kind in "iufb" and (dtype.kind != "f" or (labels >= 0).all()):
        found = np.asarray(written, dtype)
    else:  # what missing values have made of whole numbers is undone
        found = np.asarray([int(v) for v in written] if numbers else written)
    order = np.argsort(found, kind="stable")
    place = np.append(np.argsort(order), _NO_LABEL).astype(np.int32)
    return _Encoded(place[labels], found[order], tuple(names[c] for c in order))


def _items(inputs: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> Items:
    from famus_jax.audit.items import Items

    kind = "features" if inputs.ndim == 2 else "images"
    ids = np.arange(len(inputs)).astype(np.str_)
    return Items(kind, inputs, labels.astype(np.int32), ids, names, "X, y")


def _known(labels: np.ndarray, trusted: Any) -> Known:
    """The trusted labels are right."""
    from famus_jax.audit.run import nothing_known

    known, count = nothing_known(len(labels)), len(labels)
    if trusted is None:
        return known
    at = np.asarray(trusted)
    if at.dtype == bool:
        if at.shape != (count,):
            raise ValueError(f"trusted has the shape {list(at.shape)}; expected bool [{count}]")
        at = np.flatnonzero(at)
    elif at.ndim != 1 or (at.size and at.dtype.kind not in "iu"):
        raise ValueError(
            f"trusted is {at.dtype} {list(at.shape)}; expected bool [{count}], positions, or (X, y)"
        )
    at = at.astype(np.int64)
    beyond = at[(at < 0) | (at >= count)]
    if beyond.size:
        raise ValueError(f"trusted names position {beyond[0]}; there are {count} examples, from 0")
    missing = at[labels[at] < 0]
    if missing.size:
        raise ValueError(f"trusted names position {missing[0]}, which has no label")
    known.right[at] = labels[at]
    return known
