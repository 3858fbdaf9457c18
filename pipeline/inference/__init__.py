"""The model that answers. It goes along with every model."""
