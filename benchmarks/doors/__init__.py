"""The usual ways to put a model behind REST, one file each: what serve_time.py compares with."""

MODEL = "DOOR_MODEL"  # in the environment: the pickle to answer with
