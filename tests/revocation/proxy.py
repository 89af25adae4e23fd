"""A TCP proxy on loopback that can stop passing anything on, without a word to either side."""

import contextlib
import selectors
import socket
import threading


class Proxy:
    """Use it in a ``with``; it listens at ``port``."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._other: dict[socket.socket, socket.socket] = {}
        self._dead: set[socket.socket] = set()
        self._is_cut = self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Proxy":
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        for one in (self._listener, *self._other):
            one.close()
        self._selector.close()

    def cut(self) -> None:
        """What is connected, and whatever connects from now on, hears nothing any more."""
        self._is_cut = True

    def mend(self) -> None:
        """New connections are served; those that were cut stay cut."""
        self._dead |= set(self._other)
        self._is_cut = False

    def _run(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(0.05):
                with contextlib.suppress(OSError):
                    self._serve(key.fileobj)

    def _serve(self, one) -> None:
        if one is self._listener:
            near, _ = one.accept()
            far = socket.create_connection(self._target)
            for here, there in ((near, far), (far, near)):
                self._other[here] = there
                self._selector.register(here, selectors.EVENT_READ)
            return
        data = one.recv(65536)
        if self._is_cut or one in self._dead:
            if not data:
                self._selector.unregister(one)
            return
        if not data:
            self._selector.unregister(one)
            with contextlib.suppress(OSError):
                self._other[one].shutdown(socket.SHUT_WR)
            return
        self._other[one].sendall(data)
