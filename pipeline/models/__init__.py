"""The families of models, the user's estimators and the ensemble of them."""
