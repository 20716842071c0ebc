"""What the stand-ins of vendors stand on: an HTTP server on the loopback, in threads of this process, that answers JSON."""

import json
import threading
from collections.abc import Callable, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# A status (0: the connection is closed without a word), headers, and what becomes the body.
Answer = tuple[int, Mapping[str, str], Any]
# The method, the path with its query, the headers (their names in lower case), and the body of a request.
Answers = Callable[[str, str, Mapping[str, str], bytes], Answer]


def lower(headers: Message) -> dict[str, str]:
    """A request's headers, their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


class JsonServer:
    """Asks `answers` for each GET, POST, PUT and OPTIONS, several at a time, until it is closed."""

    def __init__(self, answers: Answers) -> None:
        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, told = answers(self.command, self.path, lower(self.headers), body)
                if not status:
                    self.close_connection = True
                    return
                content = json.dumps(told).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_OPTIONS = _do  # noqa: N815 - the names are the library's

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
