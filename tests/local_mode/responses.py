"""Hyperparameters of a small job, and checks of the form of an endpoint's responses."""

import json

SMALL = {"num_layers": 20, "image_shape": "3,32,32", "resize": 36, "mini_batch_size": 8, "epochs": 1, "num_classes": 3}


def is_detections(value: object, classes: int) -> bool:
    """Return whether `value` is a list of [class, score, xmin, ymin, xmax, ymax], best first, boxes in fractions."""
    return (
        isinstance(value, list)
        and all(isinstance(row, list) and len(row) == 6 for row in value)
        and all(isinstance(number, float) and 0 <= number <= 1 for row in value for number in row[1:])
        and all(row[0] in range(classes) and row[2] <= row[4] and row[3] <= row[5] for row in value)
        and value == sorted(value, key=lambda row: -row[1])
    )


def is_probabilities(value: object, classes: int) -> bool:
    """Return whether `value` is a list of `classes` floats from 0 to 1 that sum to 1."""
    return (
        isinstance(value, list)
        and len(value) == classes
        and all(isinstance(p, float) and 0 <= p <= 1 for p in value)
        and abs(sum(json.loads(json.dumps(value))) - 1) < 1e-4
    )


def is_score(value: object) -> bool:
    """Return whether `value` is TensorFlow Serving's response with one score: `{'predictions': [[p]]}`."""
    match value:
        case {"predictions": [[float(probability)]]}:
            return 0 <= probability <= 1 and len(value) == 1
    return False
