"""`python -m pipeline VERB [CONFIG] [--section.key VALUE]`."""

import sys

from pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
