"""The search for the best hyperparameters of each family."""
