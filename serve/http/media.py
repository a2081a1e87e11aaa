"""Whether a request's Content-Type says that its body may be an image. Without Flask: engines use it too."""

from serve.http.errors import UnsupportedMediaType

# The bytes decide what a body is, whatever its header says; these types are refused before they are looked at,
# because whoever sends them means to send something that is not an image. curl's default for --data-binary,
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

ONE_IMAGE = "the bytes of one image as image/jpeg, image/png or application/x-image"


def media_type(content_type: str | None) -> str:
    """The media type of a Content-Type in lower case, without parameters; "" for none."""
    return (content_type or "").partition(";")[0].strip().lower()


def require_image(media: str, instead: str = ONE_IMAGE) -> None:
    """Raise UnsupportedMediaType for a media type that is not an image's, saying what to send `instead`."""
    if media.startswith("image/"):
        return
    if media in REFUSED_TYPES or media.startswith(REFUSED_KINDS) or media.endswith(REFUSED_SUFFIXES):
        raise UnsupportedMediaType(f"Content-Type {media} is not served; send {instead}.")
