"""Checks whether a request's Content-Type allows an image. Must not import Flask, because engines use it too."""

from serve.http.errors import UnsupportedMediaType

# The format of an image is detected from its bytes, not from the Content-Type. But these types are refused without
# looking at the body, because they show that the client does not mean to send an image. They do not include curl's
# default for --data-binary, application/x-www-form-urlencoded, and S3's binary/octet-stream.
REFUSED_TYPES = frozenset(
    {
        "application/json",
        "application/jsonlines",
        "application/x-ndjson",
        "application/csv",
        "application/xml",
        "application/yaml",
        "application/pdf",
        "application/x-npy",
        "application/x-npz",
        "application/x-parquet",
        "application/zip",
        "application/gzip",
        "application/x-gzip",
        "application/x-tar",
        "application/x-gtar",
        "application/x-bzip2",
        "application/x-xz",
        "application/zstd",
        "application/x-7z-compressed",
        "application/vnd.rar",
        "application/x-recordio",
        "application/x-recordio-protobuf",
        "application/x-protobuf",
    }
)
REFUSED_KINDS = ("text/", "multipart/", "audio/", "video/", "font/", "message/")
REFUSED_SUFFIXES = ("+json", "+xml", "+zip", "+gzip")

ONE_IMAGE = "the bytes of one image as image/jpeg, image/png or application/x-image"


def media_type(content_type: str | None) -> str:
    """Return the media type of a Content-Type in lower case, without parameters; "" for None."""
    return (content_type or "").partition(";")[0].strip().lower()


def require_image(media: str, instead: str = ONE_IMAGE) -> None:
    """Raise UnsupportedMediaType, which suggests what to send `instead`, if a media type cannot be an image."""
    if media.startswith("image/"):
        return
    if media in REFUSED_TYPES or media.startswith(REFUSED_KINDS) or media.endswith(REFUSED_SUFFIXES):
        raise UnsupportedMediaType(f"Content-Type {media} is not supported; send {instead}.")
