"""One step of the pipeline per file: plain data in, plain data out."""
