"""Processes of a distributed training notice when one of them ends."""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from meshconv.ranks import all_gathered, rank_and_world

# Seconds within which all processes have to have found each other.
_PATIENCE = 60.0
_LEAVING = b"-"


class Companions(Callback):
    """Callback that ends a process of a distributed training, with a line, where another one has ended amid it.

    Without it the others wait in their next exchange, for half an hour by default, and say nothing of which it was.
    """

    def __init__(self) -> None:
        self._watch: _Watch | None = None

    def _begin(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._watch is None and rank_and_world()[1] > 1:
            self._watch = _Watch()

    on_train_start = on_validation_start = on_test_start = _begin

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, KeyboardInterrupt | SIGTERMException):  # all are asked to end
            self._leave()

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._watch is not None:
            self._watch.leave()
            self._watch = None


class _Watch:
    """A connection of each process with the first, which the system closes when a process ends, however it does."""

    def __init__(self) -> None:
        self.rank, self.world = rank_and_world()
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
        threading.Thread(target=self._listen, name="companions", daemon=True).start()

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
        line = f"process {ended} of {self.world} has ended, process {self.rank} stops; go on with --resume"
        print(f"meshconv: error: {line}", file=sys.stderr, flush=True)
        os._exit(1)  # the main thread may be waiting for it without end
