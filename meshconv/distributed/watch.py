"""Processes of a distributed computation notice when one of them ends."""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from meshconv.ranks import all_gathered, rank_and_world

# Seconds within which all processes have to have found each other.
_PATIENCE = 60.0
# Seconds that a failed exchange waits for the news of which process has ended.
_GRACE = 5.0
_LEAVING = b"-"


@contextmanager
def companions(advice: str = "start all of them again") -> Iterator[None]:
    """End this process, with a line, where another one ends inside of the ``with`` statement, however it does.

    Without it the others wait in their next exchange, for half an hour by default, or fail with an error of the
    network, and do not say which it was.
    """
    if rank_and_world()[1] == 1:
        yield
        return
    watch = Watch(advice)
    try:
        yield
    except RuntimeError:
        watch.listener.join(_GRACE)  # it ends the process where another one is the reason
        raise
    watch.leave()


class Watch:
    """A connection of each process with the first, which the system closes when a process ends.

    Parameters
    ----------
    advice
        What to do then, the end of the line.
    """

    def __init__(self, advice: str) -> None:
        self.rank, self.world = rank_and_world()
        self.advice = advice
        self.peers: dict[socket.socket, int] = {}
        if self.rank == 0:
            host = os.environ.get("MASTER_ADDR", "127.0.0.1")
            with socket.create_server((host, 0)) as server:
                server.settimeout(_PATIENCE)
                all_gathered(server.getsockname()[:2])
                while len(self.peers) < self.world - 1:
                    peer, _ = server.accept()
                    number = peer.recv(16)
                    if number.isdigit() and 0 < int(number) < self.world:
                        self.peers[peer] = int(number)
        else:
            peer = socket.create_connection(tuple(all_gathered(None)[0]), timeout=_PATIENCE)
            peer.sendall(str(self.rank).encode())
            peer.settimeout(None)
            self.peers[peer] = 0
        self.listener = threading.Thread(target=self._listen, name="companions", daemon=True)
        self.listener.start()

    def leave(self) -> None:
        """Say that this process ends as it should."""
        self._tell(_LEAVING)

    def _tell(self, message: bytes) -> None:
        for peer in list(self.peers):
            try:
                peer.sendall(message)
            except OSError:
                continue  # it is not there any more

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            for peer in self.peers:
                selector.register(peer, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    other: Any = key.fileobj
                    try:
                        said = other.recv(16)
                    except OSError:
                        said = b""
                    if said.startswith(_LEAVING):
                        selector.unregister(other)
                    else:
                        self._stop(int(said) if said.isdigit() else self.peers[other])

    def _stop(self, ended: int) -> None:
        self._tell(str(ended).encode())
        line = f"process {ended} of {self.world} has ended, process {self.rank} stops; {self.advice}"
        print(f"meshconv: error: {line}", file=sys.stderr, flush=True)
        os._exit(1)  # the main thread may be waiting for it without end
