import numpy as np
import pytest

from pipeline.arrays import pack, unpack


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0.1, 1 / 3], [np.nan, np.inf]]),
        np.array([1, -2, 3]),
        np.array([True, False]),
        np.array(["größe", ""]),
        np.array(0.5),
        np.empty((0, 2)),
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
    ],
    ids=["doubles", "integers", "flags", "texts", "scalar", "no rows", "other order"],
)
def test_array_comes_back_with_values_shape_and_type(array):
    found = unpack(pack({"one": array}))["one"]
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_arrays_come_back_under_their_names_in_order():
    arrays = {"folds/1": np.zeros(2), "a b": np.ones(3), "größe": np.arange(4)}
    found = unpack(pack(arrays))
    assert list(found) == list(arrays)
    assert [len(array) for array in found.values()] == [2, 3, 4]


def test_no_arrays_are_no_arrays():
    assert unpack(pack({})) == {}


def test_same_arrays_are_the_same_bytes():
    arrays = {"one": np.arange(100.0)}
    assert pack(arrays) == pack(dict(arrays))
    assert pack(arrays) != pack({"one": np.arange(1.0, 101.0)})


def test_bytes_are_compressed():
    assert len(pack({"one": np.zeros(10_000)})) < 1000


def test_objects_are_not_packed_for_they_would_be_pickled():
    with pytest.raises(ValueError, match="allow_pickle=False"):
        pack({"one": np.array([None, {}], dtype=object)})


def test_bytes_that_hold_a_pickle_are_not_read(tmp_path):
    np.savez(tmp_path / "pickled.npz", one=np.array([None], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        unpack((tmp_path / "pickled.npz").read_bytes())
