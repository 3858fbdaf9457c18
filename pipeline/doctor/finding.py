"""What a check of the doctor finds, and how that is said."""

from collections.abc import Callable
from dataclasses import dataclass

OK, WRONG, MENDED = "ok", "wrong", "mended"


@dataclass(frozen=True)
class Finding:
    """One thing that is in order, or is not.

    `command` mends it when it is typed as it stands; `fix` does it where nothing can be lost.
    """

    subject: str
    message: str
    status: str = OK
    command: str = ""
    fix: Callable[[], object] | None = None

    @property
    def lines(self) -> str:
        """For people: the status first, the command on a line of its own."""
        remedy = f"\n        {self.command}" if self.command and self.status == WRONG else ""
        return f"{self.status:6}  {self.subject}: {self.message}{remedy}"

    @property
    def fields(self) -> dict[str, str]:
        """For machines."""
        return {
            "status": self.status,
            "subject": self.subject,
            "message": self.message,
            "command": self.command,
        }


def wrong(
    subject: str, message: str, command: str = "", fix: Callable[[], object] | None = None
) -> Finding:
    """A finding of what is not in order."""
    return Finding(subject, message, WRONG, command, fix)
