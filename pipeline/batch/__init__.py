"""New rows of any source, answered or compared by a model of the registry."""
