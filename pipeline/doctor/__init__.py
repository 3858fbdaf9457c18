"""Whether all that a pipeline needs is in order: store, models, files, environment."""
