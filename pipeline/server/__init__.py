"""The production door: MLflow's scoring application behind a guard, run by uvicorn."""
