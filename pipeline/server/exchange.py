"""One request on its way through the guard."""

import re
from collections.abc import Mapping
from time import perf_counter

from starlette.types import Scope, Send

from pipeline.server import telemetry as seen
from pipeline.server.loaded_model import Served

FIELDS = "pipeline.fields"  # in a scope: its headers as a mapping
SENSIBLE_ID = re.compile(rb"[\w.:-]{1,64}")


class Exchange:
    """A request, the model that answers it, and what becomes of it."""

    __slots__ = (
        *("headers", "method", "client", "is_read", "owner", "path", "request_id", "rows", "rule"),
        *("send", "served", "start", "status"),
    )

    def __init__(self, scope: Scope, send: Send, served: Served) -> None:
        self.start = perf_counter()
        self.headers: Mapping[bytes, bytes] = scope.get(FIELDS) or dict(scope["headers"])
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        if scope["root_path"]:
            self.path = self.path.removeprefix(scope["root_path"])
        self.client: str | None = scope["client"] and scope["client"][0]
        self.send = send
        self.served = served  # the same to the end, whatever is promoted meanwhile
        given = self.headers.get(b"x-request-id")
        is_sensible = given is not None and SENSIBLE_ID.fullmatch(given)
        self.request_id = given.decode() if given and is_sensible else seen.new_id()
        self.is_read = False  # nobody has asked for its body
        self.status = 0  # no answer
        self.rows = 0
        self.rule: str | None = None
        self.owner: str | None = None
