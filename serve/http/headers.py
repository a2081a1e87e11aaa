"""Parses request headers and negotiates the response format."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

from serve.http.errors import NotAcceptable, UnsupportedMediaType
from serve.tasks.forms import Form

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"

T = TypeVar("T")


def require_plain(encoding: str | None) -> None:
    """Raise UnsupportedMediaType for a Content-Encoding other than identity."""
    if encoding and encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(f"Content-Encoding {encoding:.80} is not supported; send the body unencoded.")


def custom_attributes(header: str | None) -> list[tuple[str, str]]:
    """Parse `threshold=0.5, max_detections=20` into (name, value) pairs with lowercase names; `;` is a separator too.

    The header is free text that other software uses too, so text in any other form becomes a name without a value.
    """
    pairs = (part.partition("=") for part in re.split("[,;]", header or ""))
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs]


def choose_form(accept: str | None, forms: Sequence[Form[T]]) -> Form[T]:
    """Return the form that an Accept header prefers; among equals, and for */* or no header, the first one.

    Supports lists, q-values and wildcards (RFC 9110, 12.5.1: the most specific matching range decides). Ignores the
    case of media types, and unknown parameters. Raises NotAcceptable if no form matches.
    """
    # The parser drops parameters without a value, but clients write `application/json;verbose`.
    names = "|".join(re.escape(form.parameter) for form in forms if form.parameter)
    header = re.sub(rf"(?i);\s*({names})\s*(?=[;,]|$)", r";\1=true", accept or "") if names else accept
    ranges = parse_accept_header(header, MIMEAccept)
    if not ranges:
        return forms[0]
    qualities = [_quality(form, forms, ranges) for form in forms]
    if max(qualities) <= 0:
        raise NotAcceptable(f"Accept {accept} is not supported; request {', '.join(map(str, forms))} or */*.")
    return forms[qualities.index(max(qualities))]


def _quality(form: Form[Any], forms: Sequence[Form[Any]], ranges: MIMEAccept) -> float:
    """Return the q-value of the most specific range that matches `form`, or 0."""
    matches: dict[int, float] = {}  # the highest q-value by specificity
    kind = form.media.partition("/")[0]
    for text, quality in ranges:
        media, parameters = parse_options_header(text.lower())
        if form is _exact_match(media, parameters, forms):
            matches[2] = max(quality, matches.get(2, 0))
        elif media == f"{kind}/*" and not form.parameter:
            matches[1] = max(quality, matches.get(1, 0))
        elif media == "*/*" and not form.parameter:
            matches[0] = max(quality, matches.get(0, 0))
    return matches[max(matches)] if matches else 0


def _exact_match(media: str, parameters: Mapping[str, str], forms: Sequence[Form[Any]]) -> Form[Any] | None:
    """Return the form for a media type: the first with a matching parameter, or else the one without a parameter."""
    candidates = [form for form in forms if form.media == media]
    selected = [form for form in candidates if parameters.get(form.parameter, "false") not in ("false", "0")]
    return next(iter(selected + [form for form in candidates if not form.parameter]), None)
