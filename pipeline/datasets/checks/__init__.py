"""What may be wrong with a table, each with the settings that cure it."""
