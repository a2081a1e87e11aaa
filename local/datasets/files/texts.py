"""Text files of a data set."""

from pathlib import Path

from local.errors import UserError

_MAX_BYTES = 20_000_000


def read(path: Path, source: str) -> str:
    """Read a text file in UTF-8, with or without a byte order mark; messages call it `source`. Raises UserError."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise UserError(f"{source} has more than {_MAX_BYTES} bytes: is it the right file?")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{source} cannot be read ({error.strerror}): fix or remove it") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{source} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from None
