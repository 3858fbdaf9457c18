"""The settings of the REST endpoint."""

import re
from ipaddress import ip_interface, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.config.types import VERSION, Count, Positive
from pipeline.schema.columns import Frozen

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]+(?=[/?#]|$)")


def _rate(text: str) -> str:
    if re.fullmatch(r"[1-9]\d*/(second|minute|hour|day)", text) is None:
        raise ValueError(f"{text!r} is no rate; write for example 100/second or 5000/minute")
    return text


def _proxy(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        try:
            remedy = str(ip_interface(text).network)  # of an address with the length of a prefix
        except ValueError:
            remedy = "for example 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32"
        raise ValueError(f"{text!r} is no address or network; write {remedy}") from None
    return text


def _origin(text: str) -> str:
    origin = ORIGIN.match(text.lower())
    usual = origin and re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin[0])
    if text != usual:
        remedy = usual or "each by itself, for example https://app.example"
        raise ValueError(f"{text!r} is no origin as browsers send it; write {remedy}")
    return text


class Limits(Frozen):
    """What one request, or one client, may ask of the endpoint."""

    body_bytes: Count = Field(16 * 2**20, description="bytes of a request's body; more is 413")
    rows: Count = Field(100_000, description="rows of a request; more is 413")
    header_bytes: Count = Field(16 * 2**10, description="bytes of the headers; more is 431")
    receive_seconds: Positive = Field(
        30.0, description="seconds that a request may take to arrive, then 408, or to be read"
    )
    answer_seconds: Positive = Field(30.0, description="seconds for an answer, then 504")
    concurrency: Count = Field(
        64, description="requests that may wait for an answer in one worker, then 503"
    )
    uploads: Count = Field(
        64, description="bodies of one client that may be on their way to one worker, then 503"
    )
    rate: Annotated[str, AfterValidator(_rate)] | None = Field(
        None,
        description="requests per API key, or per client without keys, e.g. 100/second; "
        "/ping, /health and /metrics do not count",
    )


class RequestLogSettings(Frozen):
    """The rows that were answered, with the answers, in files that `monitor` reads."""

    path: str | None = Field(
        None, description="folder of the files, null for no request log", min_length=1
    )
    sample: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of the requests that are logged, by their ids"
    )
    columns: tuple[str, ...] | None = Field(
        None, description="columns of the rows that are logged, null for all"
    )
    max_bytes: Count = Field(64 * 2**20, description="bytes of a file, then the next begins")
    max_seconds: Positive = Field(3600.0, description="seconds until a file is closed")
    keep: Count | None = Field(
        None, description="closed files that are kept, the oldest are deleted; null for all"
    )


class Serve(Frozen):
    """The REST endpoint."""

    host: str = Field("127.0.0.1", description="address to listen on", min_length=1)
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8080, description="port to listen on")
    workers: Count = Field(1, description="server processes")
    insecure: bool = Field(
        False, description="listen beyond loopback without API keys or client certificates"
    )
    keys: str | None = Field(
        None, description="file of API keys, one NAME:SHA256 a line", min_length=1
    )
    open_metrics: bool = Field(False, description="answer /metrics without an API key")
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Host headers to answer, * for any; if empty, on loopback only its own names, "
        "elsewhere any",
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_proxy)], ...] = Field(
        (),
        description="addresses or networks of proxies, whose X-Forwarded-For names the client",
    )
    cors: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        (),
        description="origins of web pages whose scripts may ask from a browser, "
        "e.g. https://app.example",
    )
    follow: Positive | None = Field(
        5.0, description="seconds between two looks for a new champion, null for never"
    )
    version: str | None = Field(
        None, description="version to answer with, null for the champion", pattern=VERSION
    )
    shadow: str | None = Field(
        None,
        description="version that is asked beside the champion, and never answers; null for none",
        pattern=VERSION,
    )
    shadow_sample: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of the answered requests that the shadow is asked, by their ids"
    )
    shadow_log: str | None = Field(
        "shadow-log",
        description="folder of files with both versions' answers, which `monitor --shadow` reads; "
        "closed and deleted as serve.log says; null for none",
        min_length=1,
    )
    grace: Positive = Field(30.0, description="seconds to finish what is in flight at the end")
    docs: bool = Field(True, description="show the OpenAPI description at /docs")
    log: RequestLogSettings = RequestLogSettings()
    limits: Limits = Limits()

    @field_validator("version", "shadow", mode="before")
    @classmethod
    def _version_is_a_text(cls, version: Any) -> Any:
        """In YAML it is a number."""
        return str(version) if type(version) is int else version

    @model_validator(mode="after")
    def _logs_are_apart(self) -> "Serve":
        if self.shadow is not None and self.shadow_log == self.log.path is not None:
            raise ValueError(
                f"shadow_log and log.path are both {self.shadow_log!r}, and their "
                "lines differ; name two folders"
            )
        return self
