import numpy as np

from pipeline.models.encoders import impute


def test_impute_takes_the_median_and_keeps_a_column_without_a_value():
    X = np.array([[1.0, np.nan], [2.0, np.nan], [9.0, np.nan], [np.nan, np.nan]])
    imputed = impute().fit_transform(X)
    np.testing.assert_array_equal(imputed, [[1, 0], [2, 0], [9, 0], [2, 0]])
