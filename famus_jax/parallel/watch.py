"""Several processes meet before jax does, and watch one another until the end.

jax waits minutes for a process that is missing or stands still, and then ends the others from within,
without a word of ours. Here they meet first, at the coordinator's own address (which jax takes over
once all are there, so that no further port must be open), and the connections stay. Over them everyone
says every two seconds that it lives, and why it ends. All talk to process 0, which passes on what
concerns the others.

Messages are JSON, one a line: {"alive": true}, {"ended": "why"}, {"done": true}.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from famus_jax.parallel.address import bracketed

EVERY = 2.0  # seconds between two signs of life
SILENT = 60.0  # seconds without one: stopped, or out of reach
GRACE = 5.0  # seconds for a process to end by itself when another has


class Refused(ValueError):
    """The processes can't come together; the message says which, and why."""


def meet(address: tuple[str, int], count: int, index: int, wait: float) -> Watch:
    """Waits for all processes; returns when all are there, in each at the same time.

    Args:
      address: numeric host and port, the same for all; process 0 must be at it.
      count, index: how many processes, and which one this is.
      wait: seconds to wait for the last one.

    Raises:
      Refused: naming the processes that did not come, or what they disagree on.
    """
    peers = _listen(address, count, wait) if index == 0 else _call(address, count, index, wait)
    return Watch(peers, index)


def _listen(address: tuple[str, int], count: int, wait: float) -> dict[int, _Peer]:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    peers: dict[int, _Peer] = {}
    until = time.monotonic() + wait
    try:
        door = socket.create_server(address, family=family, backlog=count)
    except OSError as error:
        raise Refused(
            f"--coordinator={bracketed(*address)}: process 0 can't listen there "
            f"({error.strerror}); it must be an address of this machine and a port that is free"
        ) from error
    with door:
        while len(peers) < count - 1:
            door.settimeout(max(until - time.monotonic(), 0.01))
            try:
                peer = _Peer(door.accept()[0])
            except TimeoutError:
                missing = _some(sorted(set(range(1, count)) - set(peers)))
                _refuse(peers, f"{missing} of {count} did not come within {wait:.0f} s")
            hello = peer.hello()
            if hello is None:
                peer.close()  # something else knocks at the port
                continue
            index, said = hello
            wrong = said != count or index in peers or not 0 < index < count
            peers[index if not wrong else -1] = peer
            if said != count:
                started = f"process {index} was started with --processes={said}"
                _refuse(peers, f"{started}, process 0 with --processes={count}")
            if wrong:
                _refuse(peers, f"there are two processes with --process={index}")
    for peer in peers.values():
        peer.send({"go": True})
    return peers


def _refuse(peers: dict[int, _Peer], why: str) -> NoReturn:
    for peer in peers.values():
        peer.send({"ended": why})
        peer.close()
    raise Refused(why)


def _call(address: tuple[str, int], count: int, index: int, wait: float) -> dict[int, _Peer]:
    until = time.monotonic() + wait
    while True:
        try:
            peer = _Peer(socket.create_connection(address, timeout=5))
            break
        except OSError as error:
            if time.monotonic() > until:
                raise Refused(
                    f"process 0 did not answer at {bracketed(*address)} within {wait:.0f} s "
                    f"({error.strerror or error}): is it running, and can this machine reach it?"
                ) from error
            time.sleep(0.2)
    peer.send({"index": index, "count": count})
    try:
        answer = peer.read(max(until - time.monotonic(), 0) + 5)
    except TimeoutError:
        answer = None
    if answer is None or "go" not in answer:
        why = (answer or {}).get("ended", "process 0 has ended")
        raise Refused(str(why))
    return {0: peer}


class Watch:
    """Ends this process when another one has ended, or stands still.

    Ending is `os._exit`: the main thread waits in C code for the other, and no exception reaches it.

    Args:
      peers: connections by index; all of them for process 0, that to process 0 for the others.
      index: which process this is.
      end: ends the process with a line; an argument for tests.
      silent: seconds; an argument for tests.
    """

    def __init__(
        self,
        peers: dict[int, _Peer],
        index: int,
        end: Callable[[str], None] | None = None,
        silent: float = SILENT,
    ):
        self._peers, self._index, self._silent = peers, index, silent
        self._end = end or _end
        self._over = threading.Event()  # nobody's end is news any more
        self._told = threading.Lock()
        self._hearing: list[threading.Thread] = []

    def start(self) -> Watch:
        """From here on."""
        for index, peer in self._peers.items():
            self._hearing.append(
                threading.Thread(target=self._hear, args=(index, peer), daemon=True)
            )
            self._hearing[-1].start()
        threading.Thread(target=self._speak, daemon=True).start()
        return self

    def leave(self, why: str | None = None) -> None:
        """Says to the others that this process ends: done, or why not. Only the first word counts.

        Process 0 waits some seconds for the others to end before it: jax's service ends with it, which
        would end them without a word.
        """
        with self._told:
            if self._over.is_set():
                return
            self._over.set()
        for peer in self._peers.values():
            peer.send({"done": True} if why is None else {"ended": self._named(why)})
        until = time.monotonic() + GRACE + 2
        for thread in self._hearing if self._index == 0 else ():
            thread.join(max(until - time.monotonic(), 0))

    def _named(self, why: str) -> str:
        return f"process {self._index} {why}"

    def _speak(self) -> None:
        while not self._over.wait(EVERY):
            for peer in self._peers.values():
                peer.send({"alive": True})

    def _hear(self, index: int, peer: _Peer) -> None:
        while True:
            try:
                message = peer.read(self._silent)
            except TimeoutError:
                return self._lost(
                    f"process {index} has not been heard of for {self._silent:.0f} s: it is stopped, "
                    "or its machine is out of reach"
                )
            if message is None:
                return self._lost(
                    f"process {index} is gone: it was killed, or its machine went down"
                )
            if "done" in message:
                return None
            if "ended" in message:
                return self._lost(str(message["ended"]), index)

    def _lost(self, why: str, teller: int | None = None) -> None:
        """Passes it on, but to who told it: process 0 would take the answer for the other's end."""
        with self._told:
            if self._over.is_set():
                return
            self._over.set()
        for index, peer in self._peers.items():
            if index != teller:
                peer.send({"ended": why})
        time.sleep(GRACE if "ended" in why else 0)  # often this one fails of the same, and says it
        self._end(why)


class _Peer:
    """One connection: messages as lines."""

    def __init__(self, connection: socket.socket):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._connection, self._buffer = connection, b""
        self._sending = threading.Lock()

    def send(self, message: dict) -> None:
        """Without waiting, and without complaint: who is gone is noticed by reading."""
        with self._sending, contextlib.suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def read(self, timeout: float) -> dict | None:
        """The next message; None if the other end is gone or speaks another language.

        Raises:
          TimeoutError: if none comes.
        """
        until = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            if len(self._buffer) > 100_000:
                return None
            self._connection.settimeout(max(until - time.monotonic(), 0.01))
            try:
                received = self._connection.recv(4096)
            except TimeoutError:
                raise
            except OSError:
                return None
            if not received:
                return None
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError:
            return None
        return message if isinstance(message, dict) else None

    def hello(self) -> tuple[int, int] | None:
        """Index and count of the process at the other end; None if it is none of ours."""
        try:
            said = self.read(2.0) or {}
        except TimeoutError:
            return None
        pair = said.get("index"), said.get("count")
        return pair if all(isinstance(x, int) for x in pair) else None  # type: ignore[return-value]

    def close(self) -> None:
        self._connection.close()


def _some(indices: list[int]) -> str:
    return ("process " if len(indices) == 1 else "processes ") + ", ".join(map(str, indices))


def _end(why: str) -> None:
    print(
        f"famus: {why}. This process ends too; what was saved before is in place, and the same "
        "commands go on from there",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)
