"""The tests, which share the processor's cores among processes, not among threads of one.

Threads of OpenMP and OpenBLAS that wait for each other while they have no core take twice the time.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # read when NumPy is first imported
