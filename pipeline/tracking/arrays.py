"""Named arrays as the bytes of one file, with the number of their format."""

import io
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pipeline.results import Arrays

FORMAT = "__format__"  # the name of the number among the arrays; files of old do without


def pack(arrays: Arrays) -> bytes:
    """The bytes of NumPy's npz, compressed."""
    file = io.BytesIO()
    named = {FORMAT: np.array(arrays.format), **arrays.values}
    np.savez_compressed(file, allow_pickle=False, **named)
    return file.getvalue()


def unpack(content: bytes, expected: int) -> dict[str, NDArray[Any]]:
    """The arrays that `pack` wrote in the expected format, which a file without a number has too.

    Raises FormatError for another format, and ValueError for bytes that are no such file.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (EOFError, BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f"the bytes are no archive of arrays: {error}") from None
    number = int(arrays.pop(FORMAT, np.array(expected)))
    if number != expected:
        raise FormatError(f"has the format {number}, and this version reads {expected}")
    return arrays


class FormatError(ValueError):
    """A file of a format that another version of the pipeline has written."""
