"""The loader that models name which were logged before it moved to `inference`."""

from pipeline.inference.mlflow_flavor import _load_pyfunc

__all__ = ["_load_pyfunc"]
