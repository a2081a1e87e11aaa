"""What a request may carry and what a response may look like, each as a table."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

from serve.errors import NotAcceptable, UnsupportedMediaType

# The bytes decide what a body is, whatever its header says; these types are refused before they are looked at,
# because whoever sends them means to send something that is no image. curl's default for --data-binary,
# application/x-www-form-urlencoded, and S3's binary/octet-stream are not among them.
REFUSED_TYPES = frozenset(
    "application/" + name
    for name in (
        *("json", "jsonlines", "x-ndjson", "csv", "xml", "yaml", "pdf", "x-npy", "x-npz", "x-parquet"),
        *("zip", "gzip", "x-gzip", "x-tar", "x-gtar", "x-bzip2", "x-xz", "zstd", "x-7z-compressed", "vnd.rar"),
        *("x-recordio", "x-recordio-protobuf", "x-protobuf"),
    )
)
REFUSED_KINDS = ("text/", "multipart/", "audio/", "video/", "font/", "message/")
REFUSED_SUFFIXES = ("+json", "+xml", "+zip", "+gzip")


def check_content_type(header: str | None) -> None:
    """Raise UnsupportedMediaType for a Content-Type that is no image's; parameters and case do not matter."""
    media = (header or "").partition(";")[0].strip().lower()
    if media.startswith("image/"):
        return
    if media in REFUSED_TYPES or media.startswith(REFUSED_KINDS) or media.endswith(REFUSED_SUFFIXES):
        raise UnsupportedMediaType(
            f"Content-Type {media} is not served; send the bytes of one image as image/jpeg, image/png or "
            "application/x-image."
        )


@dataclass(frozen=True)
class Form:
    """A form that a response can take: the media type that asks for it, and the function that writes it.

    `encode` takes the probabilities (in order of the label index) and the class names.
    """

    media: str
    verbose: bool
    encode: Callable[[Sequence[float], Sequence[str]], str]

    def __str__(self) -> str:
        return self.media + (";verbose" if self.verbose else "")


def _array(probabilities: Sequence[float], class_names: Sequence[str]) -> str:
    return json.dumps(list(probabilities))


def _prediction(probabilities: Sequence[float], class_names: Sequence[str]) -> str:
    return json.dumps({"prediction": list(probabilities)})


def _prediction_line(probabilities: Sequence[float], class_names: Sequence[str]) -> str:
    return _prediction(probabilities, class_names) + "\n"


def _verbose(probabilities: Sequence[float], class_names: Sequence[str]) -> str:
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return json.dumps(
        {"predicted_label": class_names[best], "labels": list(class_names), "probabilities": list(probabilities)}
    )


_OTHERS = (Form("application/jsonlines", False, _prediction_line), Form("application/json", True, _verbose))
FORMS = (Form("application/json", False, _array), *_OTHERS)
BATCH_FORMS = (Form("application/json", False, _prediction), *_OTHERS)  # what the built-in writes in batch transform


def choose_form(accept: str | None, batch: bool) -> Form:
    """The form that an Accept header likes best; of equals the first in the table, as for none and */*.

    Lists, q-values and wildcards count (RFC 9110, 12.5.1: the most specific range that fits decides), media types in
    any case, unknown parameters do not. Raises NotAcceptable when no form fits.
    """
    forms = BATCH_FORMS if batch else FORMS
    # The parser drops a parameter without a value, which is how `application/json;verbose` is commonly written.
    ranges = parse_accept_header(re.sub(r"(?i);\s*verbose\s*(?=[;,]|$)", ";verbose=true", accept or ""), MIMEAccept)
    if not ranges:
        return forms[0]
    qualities = [_quality(form, ranges) for form in forms]
    if max(qualities) <= 0:
        raise NotAcceptable(f"Accept {accept} cannot be met; ask for {', '.join(map(str, forms))} or */*.")
    return forms[qualities.index(max(qualities))]


def _quality(form: Form, ranges: MIMEAccept) -> float:
    """The q-value of the most specific range that `form` fits, 0 when none does."""
    fitting = {}
    for text, quality in ranges:
        media, parameters = parse_options_header(text.lower())
        if media == form.media and (parameters.get("verbose", "false") not in ("false", "0")) == form.verbose:
            fitting[2] = max(quality, fitting.get(2, 0))
        elif media == "application/*" and not form.verbose:
            fitting[1] = max(quality, fitting.get(1, 0))
        elif media == "*/*" and not form.verbose:
            fitting[0] = max(quality, fitting.get(0, 0))
    return fitting[max(fitting)] if fitting else 0
