"""From a table of data to a trusted REST endpoint on MLflow."""
