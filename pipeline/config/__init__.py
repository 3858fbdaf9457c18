"""What the user may set: the sections, their reading, and ranges of the search."""
