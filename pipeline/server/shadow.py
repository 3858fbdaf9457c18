"""The shadow: a second version that is asked what the champion has answered, and never answers.

Requests hand their bytes over and go on; a thread hands them to a process of the shadow's own, and
writes what it finds. What waits is bounded, and what has no room is dropped and counted.
"""

import time
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from pipeline.config.serve import RequestLogSettings, Serve
from pipeline.errors import ConfigError
from pipeline.evaluation.answer_pairs import why_incomparable
from pipeline.server import telemetry
from pipeline.server.background_log import BackgroundLog, in_sample
from pipeline.server.content_coding import Codings
from pipeline.server.loaded_model import LoadedModel
from pipeline.server.log_files import LogFiles
from pipeline.server.response import Response
from pipeline.server.shadow_process import Comparison, ShadowRequest, run
from pipeline.server.worker_process import start

LOG_KEY = "serve.shadow_log"
LONGEST_PAUSE = 30.0  # seconds between two attempts to start the process
OVERHEAD = 1000  # bytes of a request beside its body and its answer


class Shadow(BackgroundLog[ShadowRequest]):
    """The shadow of one server process; sizes are bytes."""

    name = "shadow"
    most_waiting = 2**25
    at_a_time = 2**16
    close_seconds = 0.4  # after the request log, and within the server's own

    def __init__(self, serve: Serve, model: LoadedModel) -> None:
        """Raises ConfigError for a folder of the log that cannot be written to."""
        self.model = model
        self._serve = serve
        self._champion: LoadedModel | None = None
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None  # of a process that is ready
        self._pause = 0.0
        settings = _log_settings(serve)
        super().__init__(None if settings.path is None else LogFiles(settings, LOG_KEY))

    def follow(self, champion: LoadedModel) -> None:
        """Compares with this champion from now on; with none, where the two cannot be compared."""
        why = _obstacle(champion, self.model)
        self._champion = None if why else champion
        versions = {"champion": champion.version.version, "shadow": self.model.version.version}
        if why:
            telemetry.log("shadow_paused", **versions, message=why)
        else:
            telemetry.log("shadow_ready", **versions)

    def add(  # noqa: PLR0913, PLR0917
        self,
        request_id: str,
        champion: LoadedModel,
        body: bytes,
        media_type: str,
        codings: Codings,
        response: Response,
    ) -> None:
        """Hands a request over that was answered, if it is in the sample, and returns at once."""
        if champion is not self._champion or not in_sample(request_id, self._serve.shadow_sample):
            return
        request = ShadowRequest(
            request_id,
            round(time.time(), 3),
            champion.version.version,
            media_type,
            codings,
            body,
            response.body,
            response.is_gzip,
            response.rows,
        )
        if not self.hand_over(request, len(body) + len(response.body) + OVERHEAD):
            telemetry.shadow_dropped.inc(response.rows)

    def close(self) -> None:
        """Ends what is under way, the process and the model."""
        super().close()
        self._end_process()
        self.model.close()

    def _run(self) -> None:
        try:
            self._start()  # before the first request
        except Exception as error:  # whatever it is, the champion answers as before
            self._fail(error)
        super()._run()

    def _work(self, parts: list[ShadowRequest], _: int) -> None:
        try:
            comparison = self._ask(parts)
        except Exception as error:  # likewise
            telemetry.shadow_failed.inc(sum(part.rows for part in parts))
            self._fail(error)
            return
        failure = comparison.failure
        try:
            self._write(comparison.lines)
        except OSError as error:
            telemetry.shadow_lost.inc(comparison.rows)
            failure = f"{LOG_KEY}: {error}"
        _count(comparison)
        self._report("shadow", failure)

    def _fail(self, error: Exception) -> None:
        self._end_process()
        if not self._is_closing.is_set():
            is_gone = isinstance(error, (EOFError, ConnectionError))
            self._report("shadow", "its process ended" if is_gone else str(error))

    def _ask(self, parts: list[ShadowRequest]) -> Comparison:
        """Raises TimeoutError, EOFError, OSError, ModelError."""
        seconds = self._serve.limits.answer_seconds
        if self._process is not None and not self._process.is_alive():
            self._end_process()  # it died since
        connection = self._connection or self._start()
        connection.send(parts)
        if not connection.poll(seconds):
            limit = f"serve.limits.answer_seconds ({seconds:g})"
            raise TimeoutError(f"it does not answer within {limit}")
        comparison: Comparison = connection.recv()
        self._pause = 0.0
        return comparison

    def _start(self) -> Connection:
        """The connection to a new process, after a pause that grows while starts fail.

        Raises EOFError, OSError, ModelError.
        """
        if self._is_closing.wait(self._pause):
            raise EOFError
        self._pause = min(2 * self._pause + 1, LONGEST_PAUSE)
        limits, version = self._serve.limits, self.model.version
        identity = {"model": version.name, "version": version.version}
        folder = self.model.copy.whole()
        self._process, connection = start(run, folder, limits.rows, identity)
        connection.recv()
        self._connection = connection
        return connection

    def _end_process(self) -> None:
        """The thread does so, and whoever closes."""
        process, self._process, self._connection = self._process, None, None
        if process is not None:
            process.kill()
            process.join()


def _count(comparison: Comparison) -> None:
    telemetry.shadow_rows.inc(comparison.rows)
    telemetry.shadow_labels_differ.inc(comparison.labels_differ)
    telemetry.shadow_failed.inc(comparison.failed)
    telemetry.observe(telemetry.shadow_difference, comparison.buckets, comparison.total)


def _obstacle(champion: LoadedModel, shadow: LoadedModel) -> str:
    if champion.version.version == shadow.version.version:
        return "it is the champion itself; it goes on when another version is"
    return why_incomparable(champion.predictor.contract, shadow.predictor.contract)


def _log_settings(serve: Serve) -> RequestLogSettings:
    return serve.log.model_copy(update={"path": serve.shadow_log})


def check(serve: Serve, champion: LoadedModel, shadow: LoadedModel) -> None:
    """Raises ConfigError for a version that cannot be compared with the one that answers."""
    settings = _log_settings(serve)
    if settings.path is not None:
        LogFiles(settings, LOG_KEY).close()
    why = why_incomparable(champion.predictor.contract, shadow.predictor.contract)
    if why:
        raise ConfigError(
            f"serve.shadow is {serve.shadow!r}, which cannot stand beside {champion.title}: {why}; "
            "name a version that takes the same requests, or null for none"
        )
