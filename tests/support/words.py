"""What verbs cannot do without, as words of a command and as options."""

from pipeline.verbs import VERBS

IDS = ("a", "b")


def required(verb: str) -> dict[str, str]:
    """A value for each option that the verb needs."""
    return {name: f"{name}.csv" for name in VERBS[verb].required}


def words_of(verb: str) -> list[str]:
    """The shortest command of the verb, after its own word."""
    options = [word for name, text in required(verb).items() for word in (f"--{name}", text)]
    return [*(IDS if VERBS[verb].arguments else ()), *options]
