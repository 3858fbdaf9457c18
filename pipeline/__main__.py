"""`python -m pipeline VERB [CONFIG] [--section.key VALUE]`."""

import sys

from pipeline import temporary
from pipeline.cli import main

if __name__ == "__main__":
    temporary.keep_libraries_out_of_the_home(temporary.begin())
    sys.exit(main(sys.argv[1:]))
