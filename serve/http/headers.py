"""What the headers of a request ask for, and the form of the response that they like best."""

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
    """Raise UnsupportedMediaType for a Content-Encoding, which says that the body is not what it stands for."""
    if encoding and encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(f"Content-Encoding {encoding:.80} is not served; send the bytes as they are.")


def custom_attributes(header: str | None) -> list[tuple[str, str]]:
    """`threshold=0.5, max_detections=20` -> pairs of name (in lower case) and value; `;` separates as well.

    What is not of this shape is a name without a value: the header is free text, and other software uses it too.
    """
    pairs = (part.partition("=") for part in re.split("[,;]", header or ""))
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs]


def choose_form(accept: str | None, forms: Sequence[Form[T]]) -> Form[T]:
    """The form that an Accept header likes best; of equals the first in the table, as for none and */*.

    Lists, q-values and wildcards count (RFC 9110, 12.5.1: the most specific range that fits decides), media types in
    any case, unknown parameters do not. Raises NotAcceptable when no form fits.
    """
    # The parser drops a parameter without a value, which is how `application/json;verbose` is commonly written.
    names = "|".join(re.escape(form.parameter) for form in forms if form.parameter)
    header = re.sub(rf"(?i);\s*({names})\s*(?=[;,]|$)", r";\1=true", accept or "") if names else accept
    ranges = parse_accept_header(header, MIMEAccept)
    if not ranges:
        return forms[0]
    qualities = [_quality(form, forms, ranges) for form in forms]
    if max(qualities) <= 0:
        raise NotAcceptable(f"Accept {accept} cannot be met; ask for {', '.join(map(str, forms))} or */*.")
    return forms[qualities.index(max(qualities))]


def _quality(form: Form[Any], forms: Sequence[Form[Any]], ranges: MIMEAccept) -> float:
    """The q-value of the most specific range that `form` fits, 0 when none does."""
    fitting: dict[int, float] = {}
    kind = form.media.partition("/")[0]
    for text, quality in ranges:
        media, parameters = parse_options_header(text.lower())
        if form is _named(media, parameters, forms):
            fitting[2] = max(quality, fitting.get(2, 0))
        elif media == f"{kind}/*" and not form.parameter:
            fitting[1] = max(quality, fitting.get(1, 0))
        elif media == "*/*" and not form.parameter:
            fitting[0] = max(quality, fitting.get(0, 0))
    return fitting[max(fitting)] if fitting else 0


def _named(media: str, parameters: Mapping[str, str], forms: Sequence[Form[Any]]) -> Form[Any] | None:
    """The form that a range without a wildcard means: the first of those whose parameter it has, else the plain one."""
    of_media = [form for form in forms if form.media == media]
    asked = [form for form in of_media if parameters.get(form.parameter, "false") not in ("false", "0")]
    return next(iter(asked + [form for form in of_media if not form.parameter]), None)
