"""From a source to a checked table in two parts."""
