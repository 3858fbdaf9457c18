import io

import numpy as np
import pytest

from pipeline.results import Arrays
from pipeline.tracking.arrays import FormatError, pack, unpack


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0.1, 0.2], [np.nan, -np.inf]]),
        np.array([1, 2**62]),
        np.array([True, False]),
        np.array(["a", "größe"]),
        np.empty((0, 3)),
        np.array(1e-300),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ],
    ids=["doubles", "integers", "booleans", "texts", "no rows", "no dimension", "by columns"],
)
def test_unpack_gives_back_what_was_packed(array):
    (result,) = unpack(pack(Arrays(1, {"one": array})), 1).values()
    assert (result.dtype, result.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(result, array)


def test_names_stay_in_their_order():
    names = ["svc", "a/b", "two words", "größe", "mlp"]
    result = unpack(pack(Arrays(1, {name: np.full(2, i) for i, name in enumerate(names)})), 1)
    assert list(result) == names
    assert [array[0] for array in result.values()] == [0, 1, 2, 3, 4]


def test_nothing_packs_to_nothing():
    assert unpack(pack(Arrays(1, {})), 1) == {}


def test_pack_compresses():
    zeros = np.zeros(10_000)
    assert len(pack(Arrays(1, {"zeros": zeros}))) < zeros.nbytes / 100


def test_pack_refuses_objects():
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        pack(Arrays(1, {"one": np.array([None])}))


def test_unpack_runs_no_pickle():
    file = io.BytesIO()
    np.savez(file, one=np.array([None]))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        unpack(file.getvalue(), 1)


PACKED = pack(Arrays(1, {"one": np.arange(50)}))


@pytest.mark.parametrize(
    "content",
    [b"", b"x", PACKED[:10], PACKED[:-10]],
    ids=["nothing", "a letter", "its beginning", "all but its end"],
)
def test_unpack_refuses_other_bytes(content):
    with pytest.raises(ValueError, match=r"no archive of arrays|pickled"):
        unpack(content, 1)


def test_unpack_refuses_another_format():
    with pytest.raises(FormatError, match="has the format 3, and this version reads 1"):
        unpack(pack(Arrays(3, {"one": np.arange(2)})), 1)


def test_file_without_a_number_has_the_format_that_its_reader_expects():
    file = io.BytesIO()
    np.savez_compressed(file, one=np.arange(2))
    assert unpack(file.getvalue(), 1)["one"].tolist() == [0, 1]
