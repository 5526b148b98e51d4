"""A signal asks the work to end: noted at once, acted on where everything can be saved.

SIGINT (Ctrl-C), SIGTERM (a scheduler) and SIGHUP (a closed terminal) are one wish. Where nothing would
be lost they raise `Interrupted` then and there; inside `deferred()` they are only noted, and who works
there asks. A second SIGINT ends the process at once, whatever it does: Python runs a handler only
between two of its own instructions, so a thread listens, which a long compilation can't keep waiting.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The work was ended by a signal. No `Exception`, so that nothing takes it for a failure.

    Attributes:
      signal: which.
      exit_status: what a shell expects of a process that it ended.
    """

    def __init__(self, number: int, done: str = ""):
        super().__init__(done)
        self.signal = signal.Signals(number)
        self.exit_status = 128 + number


class Interruption:
    """Whether a signal has asked the work to end; a context in which signals are listened to.

    Only in a main thread: elsewhere Python takes no handlers, and the context does nothing. A signal
    that was ignored before (`nohup`, a job in the background) stays ignored.

    Attributes:
      received: the first signal, or None.
      forward: called with every signal that is noted, for what else must know.
    """

    def __init__(self, name: str = "famus"):
        self.received: signal.Signals | None = None
        self.forward = lambda number: None
        self._name, self._deferred = name, False
        self._listens = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        self._listener, self._told = socket.socketpair()
        self._told.setblocking(False)
        self._descriptor = signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, daemon=True).start()
        self._listens = True
        return self

    def __exit__(self, *unused: object) -> None:
        if not self._listens:
            return
        self._listens = False
        signal.set_wakeup_fd(self._descriptor)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()
        self._told.close()  # the listener reads the end, and ends

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Signals are only noted: the block asks for `received` and ends by itself."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _note(self, number: int, frame: object) -> None:
        del frame
        self.received = self.received or signal.Signals(number)
        self.forward(number)
        if not self._deferred:
            raise Interrupted(number)

    def _listen(self) -> None:
        """Every signal's number arrives as a byte, even while the main thread is in C code."""
        with self._listener:
            asked = 0
            while byte := self._listener.recv(1):
                if byte[0] not in SIGNALS:
                    continue
                if byte[0] == signal.SIGINT and asked:
                    self._say("ended at once; what was saved before is in place")
                    os._exit(128 + signal.SIGINT)
                if self._deferred and not asked:
                    name = signal.Signals(byte[0]).name
                    self._say(f"{name}: saving after this step (Ctrl-C ends at once)")
                asked += 1

    def _say(self, text: str) -> None:
        print(f"\n{self._name}: {text}", file=sys.stderr, flush=True)
