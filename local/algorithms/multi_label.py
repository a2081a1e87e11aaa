"""Evaluates multi-label predictions: a class is predicted if its probability is above 0.5."""

from collections.abc import Sequence, Set

Prediction = tuple[Set[int], Sequence[float]]
"""A photo's true labels, and the predicted probability of each class."""


def above_half(probabilities: Sequence[float]) -> set[int]:
    """Return the predicted labels."""
    return {label for label, probability in enumerate(probabilities) if probability > 0.5}


def table(predictions: Sequence[Prediction], names: Sequence[str]) -> str:
    """Return a line per class: the photos that have it, how many of them were found, and the false positives."""
    name_width = max(map(len, (*names, "class")))
    rows = [f"{'class':<{name_width}}  photos  found  false    F1"]
    for label, name in enumerate(names):
        total, found, false = _counts(predictions, label)
        rows.append(f"{name:<{name_width}}  {total:>6}  {found:>5}  {false:>5}  {_f1(total, found, false):>4}")
    return "\n".join(rows)


def summary_line(predictions: Sequence[Prediction]) -> str:
    """Return the F1 score over the labels of all classes: `F1 0.81 (of all labels of 60 photos)`."""
    labels = range(len(predictions[0][1]))
    counts = zip(*(_counts(predictions, label) for label in labels), strict=True)
    total, found, false = (sum(column) for column in counts)
    return f"F1 {_f1(total, found, false)} (of all labels of {len(predictions)} photos)"


def _counts(predictions: Sequence[Prediction], label: int) -> tuple[int, int, int]:
    """Return how many photos have the label, the true positives and the false positives."""
    pairs = [(label in labels, probabilities[label] > 0.5) for labels, probabilities in predictions]
    return sum(true for true, _ in pairs), pairs.count((True, True)), pairs.count((False, True))


def _f1(total: int, found: int, false: int) -> str:
    """Return F1, which is 2 TP / (2 TP + FP + FN) = 2 TP / (photos with the label + photos predicted to have it)."""
    return f"{2 * found / (total + found + false):.2f}" if total + false else "-"
