"""Options that take some of several names, as `--only a,b`."""

import argparse
from collections.abc import Callable, Iterable


def some_of(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """An argparse type: names with commas between them, all of them known."""
    names = tuple(known)

    def chosen(text: str) -> tuple[str, ...]:
        keys = tuple(text.split(","))
        if unknown := set(keys) - set(names):
            told = f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(names)}"
            raise argparse.ArgumentTypeError(told)
        return keys

    return chosen
