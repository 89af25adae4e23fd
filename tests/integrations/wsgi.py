"""A client that calls a WSGI app directly, with the standard library's validator in between."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any
from wsgiref.types import WSGIApplication
from wsgiref.validate import validator

from tests.integrations.asgi import RawHeaders, encode
from tests.integrations.exchange import Headers, Reply


class WsgiClient:
    """Requests one by one, or all at once in threads."""

    def __init__(self, app: WSGIApplication, *, scheme: str = "http", root_path: str = "") -> None:
        self.app = validator(app)
        self.scheme = scheme
        self.root_path = root_path

    def send(self, method: str, path: str, headers: Headers, body: bytes = b"") -> Reply:
        return self.send_raw(method, path, encode(headers), body)

    def send_all(self, requests: Iterable[tuple[str, str, Headers]]) -> list[Reply]:
        """All at once; the replies in the order of the requests."""
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda request: self.send(*request), requests))

    def send_raw(self, method: str, path: str, headers: RawHeaders, body: bytes = b"") -> Reply:
        begun: list[tuple[str, Headers]] = []
        chunks: list[bytes] = []

        def start_response(status: str, headers: Headers, exc_info: Any = None) -> Any:
            if exc_info is not None and chunks:
                raise exc_info[1]
            assert (exc_info is not None) is bool(begun), "exc_info is for calling start_response again"
            begun.append((status, headers))
            return chunks.append

        response = self.app(self._environ(method, path, headers, body), start_response)
        try:
            chunks += [chunk for chunk in response if chunk]
        finally:
            response.close()  # type: ignore[attr-defined] # the validator's has it
        status, sent = begun[-1]
        # White space around a value is not part of it (RFC 9110 section 5.5); Django begins its cookies with a blank.
        return Reply(int(status.split(" ")[0]), [(name.lower(), value.strip()) for name, value in sent], chunks)

    def _environ(self, method: str, path: str, headers: RawHeaders, body: bytes) -> dict[str, Any]:
        environ: dict[str, Any] = {
            "REMOTE_ADDR": "127.0.0.1",
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": self.root_path,
            "PATH_INFO": path.encode("utf-8").decode("latin-1"),
            "QUERY_STRING": "",
            "SERVER_NAME": "api.test",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "api.test",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": self.scheme,
            "wsgi.input": BytesIO(body),
            "wsgi.errors": _Silent(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for raw_name, raw_value in headers:
            name, value = raw_name.decode("latin-1").upper().replace("-", "_"), raw_value.decode("latin-1")
            key = name if name == "CONTENT_TYPE" else f"HTTP_{name}"
            # As servers do: RFC 9113 section 8.2.3 for cookies, RFC 9110 section 5.3 for all others.
            environ[key] = f"{environ[key]}{'; ' if name == 'COOKIE' else ','}{value}" if key in environ else value
        return environ


class _Silent:
    """Where an app complains; a test looks at the log instead."""

    def write(self, _text: str) -> None: ...

    def writelines(self, _lines: Iterable[str]) -> None: ...

    def flush(self) -> None: ...
