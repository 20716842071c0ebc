"""A stand-in for Apple's push service: HTTP/2 without TLS, for as many lines and requests at once as there are."""

import socket
import socketserver
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events

from tests.lab.city.push_vendors import Answer, Keys, Pushed, PushVendors, Server, content_of

CHUNK: Final = 65_536


Ask = Callable[[str, Mapping[str, str], bytes], Answer | None]


class _Line(socketserver.BaseRequestHandler):
    server: "Apple"

    def handle(self) -> None:
        if self.server.vendors is not None:
            speak(self.request, self.server.vendors.answer)


def speak(connection: socket.socket, ask: Ask) -> None:
    """Answer the requests of one line, until it ends."""
    lines = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    lines.initiate_connection()
    heads: dict[int, dict[str, str]] = {}
    bodies: dict[int, bytes] = defaultdict(bytes)
    while True:
        connection.sendall(lines.data_to_send())
        received = connection.recv(CHUNK)
        if not received:
            return
        for event in lines.receive_data(received):
            match event:
                case h2.events.RequestReceived():
                    heads[event.stream_id] = {str(name): str(value) for name, value in event.headers}
                case h2.events.DataReceived():
                    bodies[event.stream_id] += event.data
                    lines.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    head = heads.pop(event.stream_id)
                    answer = ask(head[":path"], head, bodies.pop(event.stream_id, b""))
                    _answer(lines, event.stream_id, head, answer)


def _answer(lines: Any, stream: int, head: Mapping[str, str], answer: Answer | None) -> None:
    if answer is None:
        lines.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        return
    content = content_of(answer)
    headers = {":status": str(answer.status), "apns-id": head.get("apns-id", ""), **answer.headers}
    lines.send_headers(stream, list(headers.items()), end_stream=not content)
    if content:
        lines.send_data(stream, content, end_stream=True)


class Apple(socketserver.ThreadingTCPServer):
    """The server; `vendors` are set when their keys know its port."""

    request_queue_size = 256
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Line)
        self.vendors: PushVendors | None = None
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """A line that was cut."""


class StandIns:
    """All stand-ins at work, with keys of their own in a folder."""

    def __init__(self, folder: Path, port: int = 0, on_push: Callable[[Pushed], None] = lambda _: None) -> None:
        self.server, self.apple = Server(port), Apple(port + 1 if port else 0)
        keys = Keys(folder, self.server.url, self.apple.url)
        self.vendors = PushVendors(keys, on_push)
        self.server.handler.vendors = self.apple.vendors = self.vendors  # type: ignore[attr-defined]
        self.environment = keys.environment
        for server in (self.server, self.apple):
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End them."""
        for server in (self.server, self.apple):
            server.shutdown()
            server.server_close()
