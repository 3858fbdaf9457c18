"""The doubles that columns make. Apart, as the command line knows columns and not NumPy.

Of a contract with a column of texts, both are arrays of objects, and its cells the texts.
"""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]  # the cells of one column as doubles, NaN where a value is missing
Matrix = NDArray[np.float64]  # rows x columns, in the contract's order, of such cells
