"""`python -m pipeline VERB [CONFIG] [--section.key VALUE]`."""

import os
import sys

from pipeline import library_environment, temporary
from pipeline.cli import main

if __name__ == "__main__":
    library_environment.prepare(os.environ, temporary.begin())
    sys.exit(main(sys.argv[1:]))
