"""Downloads over HTTP: within a deadline and a size, and resumed where the connection breaks."""

import asyncio
from typing import IO, TYPE_CHECKING

from pipeline import event_loop
from pipeline.config.sections import Data
from pipeline.errors import SourceError

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

ATTEMPTS = 4  # connections that may break, one after another
PAUSE = 0.2  # seconds before the second attempt, twice that before the third, ...
CHUNK = 2**18
PARTIAL = 206  # HTTP: a range of the file
UNSATISFIABLE = 416  # HTTP: there is nothing behind that place


class _TooLargeError(Exception):
    """The file is larger than `data.max_bytes`."""


def download(data: Data, file: IO[bytes]) -> None:
    """Writes what is at the address `data.source` to the file. Raises SourceError."""
    import aiohttp  # takes 0.3 s, and most sources are files

    try:
        event_loop.run(_Download(data, file).run())
        return
    except _TooLargeError:
        reason = f"is larger than data.max_bytes, {data.max_bytes}; raise it if that is right"
    except aiohttp.TooManyRedirects:
        reason = "was redirected without end; check the address"
    except aiohttp.ClientResponseError as error:
        reason = f"was answered with HTTP {error.status} {error.message}; check the address"
    except TimeoutError:
        reason = f"took longer than data.timeout, {data.timeout:g} seconds; check the address"
    except (aiohttp.ClientError, ValueError) as error:
        reason = f"failed: {error}; check the address"
    raise SourceError(f"the download of data.source {data.source!r} {reason}")


class _Download:
    """What has come so far, and what it is a part of."""

    def __init__(self, data: Data, file: IO[bytes]) -> None:
        self._data = data
        self._file = file
        self._validator: str | None = None  # of the file's version, if the server names one

    async def run(self) -> None:
        """Goes on where a connection broke, while the server still has the same version."""
        import aiohttp

        async with (
            asyncio.timeout(self._data.timeout),
            aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout()) as session,
        ):
            for attempt in range(ATTEMPTS):
                try:
                    await self._attempt(session)
                    return
                except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
                    if attempt == ATTEMPTS - 1:
                        raise
                    await asyncio.sleep(PAUSE * 2**attempt)

    async def _attempt(self, session: "ClientSession") -> None:
        import aiohttp

        headers = {"Accept-Encoding": "identity"}  # places in the file are those in the body
        size = self._file.tell()
        if size and self._validator:
            headers |= {"Range": f"bytes={size}-", "If-Range": self._validator}
        async with session.get(self._data.source, headers=headers) as response:
            if response.status == UNSATISFIABLE and headers.get("Range"):
                return
            response.raise_for_status()
            if response.status != PARTIAL:
                self._begin(response)
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
                self._validator = None  # the server does not know ranges: begin anew
                raise aiohttp.ClientPayloadError("the server sent another part than asked for")
            async for chunk in response.content.iter_chunked(CHUNK):
                self._file.write(chunk)
                if self._file.tell() > self._data.max_bytes:
                    raise _TooLargeError

    def _begin(self, response: "ClientResponse") -> None:
        """The whole file comes, from its beginning."""
        self._file.seek(0)
        self._file.truncate()
        if (response.content_length or 0) > self._data.max_bytes:
            raise _TooLargeError
        etag = response.headers.get("ETag", "")
        is_strong = bool(etag) and not etag.startswith("W/")
        is_plain = "Content-Encoding" not in response.headers
        validator = etag if is_strong else response.headers.get("Last-Modified")
        self._validator = validator if is_plain else None
