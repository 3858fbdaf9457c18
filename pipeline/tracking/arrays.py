"""Named arrays as the bytes of one file."""

import io
from collections.abc import Mapping
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """NumPy's npz, compressed."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack(content: bytes) -> dict[str, NDArray[Any]]:
    """What `pack` made its bytes of. Raises ValueError for others."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (EOFError, BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f"the bytes are no archive of arrays: {error}") from None
