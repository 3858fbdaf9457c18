"""The request log: rows that were answered, with their answers, in files that `monitor` reads.

Requests hand their rows over and go on; a thread writes them. What waits is bounded: when the
disk is too slow, or full, rows are missing in the log and counted, and no request waits or fails.
"""

import time

from pipeline.config.serve import RequestLogSettings
from pipeline.errors import ConfigError, nearest
from pipeline.schema.contract import Contract
from pipeline.server import telemetry
from pipeline.server.background_log import BackgroundLog, in_sample
from pipeline.server.log_files import LogFiles
from pipeline.server.log_lines import LoggedRequest, LoggedRows, lines


class RequestLog(BackgroundLog[LoggedRows | bytes]):
    """The log of one server process; sizes are rows."""

    name = "request log"
    most_waiting = 100_000  # some 30 MB
    at_a_time = 256

    def __init__(self, settings: RequestLogSettings) -> None:
        """Raises ConfigError for a folder that cannot be written to."""
        self._settings = settings
        super().__init__(LogFiles(settings))

    def request(self, request_id: str) -> LoggedRequest | None:
        """What is to be logged of a request; None if it is not in the sample."""
        if not in_sample(request_id, self._settings.sample):
            return None
        return LoggedRequest(request_id, round(time.time(), 3), self._settings.columns)

    def add(self, part: LoggedRows | bytes, rows: int) -> None:
        """Hands rows over, and returns at once."""
        if not self.hand_over(part, rows):
            telemetry.lost_rows.inc(rows)

    def _work(self, parts: list[LoggedRows | bytes], size: int) -> None:
        try:
            made = [part for part in parts if isinstance(part, bytes)]
            others = [part for part in parts if not isinstance(part, bytes)]
            self._write(b"".join([*made, lines(others)]))
        except Exception as error:  # whatever it is, requests are answered as before
            telemetry.lost_rows.inc(size)
            self._report("request_log", str(error))
        else:
            telemetry.logged_rows.inc(size)
            self._report("request_log", None)


def check(settings: RequestLogSettings, contract: Contract) -> None:
    """Raises ConfigError for a folder that cannot be written to, or a column that is none."""
    if settings.path is not None:
        LogFiles(settings).close()
    for name in settings.columns or ():
        if name not in contract.columns:
            raise ConfigError(
                f"serve.log.columns has {name!r}, which is no column of the model"
                f"{nearest(name, contract.columns) or '; it has ' + ', '.join(contract.columns)}"
            )
