"""How multi-label answers are judged: a class is predicted where its probability is above one half."""

from collections.abc import Sequence, Set

Answer = tuple[Set[int], Sequence[float]]
"""The labels of a photo, and the probabilities that an endpoint answered, one per class."""


def above_half(probabilities: Sequence[float]) -> set[int]:
    """The labels that are predicted."""
    return {label for label, probability in enumerate(probabilities) if probability > 0.5}


def table(answers: Sequence[Answer], names: Sequence[str]) -> str:
    """A line per class: photos that have it, how many of those were found, and how many others were taken for it."""
    side = max(map(len, (*names, "class")))
    rows = [f"{'class':<{side}}  photos  found  false    F1"]
    for label, name in enumerate(names):
        total, found, false = _counts(answers, label)
        rows.append(f"{name:<{side}}  {total:>6}  {found:>5}  {false:>5}  {_f1(total, found, false):>4}")
    return "\n".join(rows)


def last_line(answers: Sequence[Answer]) -> str:
    """`F1 0.81 (of all labels of 60 photos)`: over the labels of all classes together."""
    classes = range(len(answers[0][1]))
    total, found, false = (sum(counts) for counts in zip(*(_counts(answers, label) for label in classes), strict=True))
    return f"F1 {_f1(total, found, false)} (of all labels of {len(answers)} photos)"


def _counts(answers: Sequence[Answer], label: int) -> tuple[int, int, int]:
    """Photos that have the label, how many of them were found, and how many others were taken for one."""
    pairs = [(label in labels, probabilities[label] > 0.5) for labels, probabilities in answers]
    return sum(true for true, _ in pairs), pairs.count((True, True)), pairs.count((False, True))


def _f1(total: int, found: int, false: int) -> str:
    """2 TP / (2 TP + FP + FN), which is 2 TP / (photos that have the label + photos that were predicted to)."""
    return f"{2 * found / (total + found + false):.2f}" if total + false else "-"
