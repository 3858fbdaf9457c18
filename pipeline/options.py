"""What is asked of a verb beyond the config."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Options of the command line; each verb takes some of them."""

    fresh: bool = False  # run every step, reuse none
    dry_run: bool = False  # promote: decide, but move nothing
    run: str | None = None  # promote: this run's model, not the best
    version: str | None = None  # rollback: to this version, not the previous
    reason: str = ""  # promote, rollback: for the record
    runs: tuple[str, ...] = ()  # compare: the two
