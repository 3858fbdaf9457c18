"""Everything that speaks with MLflow's store: runs, records, models, registry."""
