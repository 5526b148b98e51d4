"""Processes that meet and watch one another: here threads of one process, over real sockets."""

import socket
import threading
import time

import pytest

from famus_jax.parallel import watch as watching
from famus_jax.parallel.address import parse_address
from famus_jax.parallel.processes import start
from famus_jax.parallel.watch import Refused, Watch, meet


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def together(*calls):
    """What each call gives or raises, all run at once."""
    found = [None] * len(calls)

    def one(i, call):
        try:
            found[i] = call()
        except Refused as error:
            found[i] = str(error)

    threads = [threading.Thread(target=one, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found


def met(count=3, silent=60.0):
    """`count` watches that have met, each with the list of lines that it ended with."""
    address = ("127.0.0.1", free_port())
    found = together(*(lambda i=i: meet(address, count, i, 10) for i in range(count)))
    watches = [Watch(one._peers, i, silent=silent) for i, one in enumerate(found)]
    ended = [[] for _ in watches]
    for one, lines in zip(watches, ended):
        one._end = lines.append
    return [one.start() for one in watches], ended


def wait_for(condition, seconds=5.0):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(watching, "EVERY", 0.1)
    monkeypatch.setattr(watching, "GRACE", 0.2)


@pytest.mark.parametrize(
    ("coordinator", "words"),
    [
        ("127.0.0.1", "must be HOST:PORT"),
        ("127.0.0.1:", "must be HOST:PORT"),
        (":1234", "must be HOST:PORT"),
        ("", "must be HOST:PORT"),
        ("127.0.0.1:ten", "must be HOST:PORT"),
        ("127.0.0.1:99999", r"a port lies in \[1, 65535\]; got 99999"),
        ("127.0.0.1:0", "got 0"),
        ("127.0.0.1:-1", "must be HOST:PORT"),
        ("::1:1234", r"write an IPv6 address in brackets, \[::1\]:1234"),
        ("no.such.host.invalid:1234", "there is no host 'no.such.host.invalid'"),
        ("a" * 70 + ".com:1234", "there is no host"),
        ("192.0.2.1:1234", "process 0 can't listen there"),  # an address for documents only
    ],
)
def test_a_place_that_cannot_be_is_refused_at_once(coordinator, words):
    """Fails if jax is asked first, which waits for minutes, or ends in an IndexError."""
    began = time.monotonic()
    with pytest.raises(ValueError, match=words):
        start(coordinator, 2, 0)
    assert time.monotonic() - began < 10


def test_addresses():
    assert parse_address("10.0.0.1:1234") == ("10.0.0.1", 1234)
    assert parse_address("[::1]:80") == ("::1", 80)


def test_all_meet_and_who_is_missing_is_named():
    """Fails if those that came are not told, or wait on."""
    address = ("127.0.0.1", free_port())
    calls = [lambda i=i: meet(address, 4, i, 1.0) for i in (0, 2)]
    first, third = together(*calls)
    assert first == third == "processes 1, 3 of 4 did not come within 1 s"
    alone = together(lambda: meet(("127.0.0.1", free_port()), 2, 1, 0.5))[0]
    assert "process 0 did not answer at 127.0.0.1" in alone


def test_the_address_is_bound_and_no_other_and_free_again_after():
    """jax's service takes the same port while the connections stay. Fails if they are in its way."""
    port = free_port()
    found = together(*(lambda i=i: meet(("127.0.0.1", port), 2, i, 10) for i in (0, 1)))
    with socket.create_server(("127.0.0.1", port)) as later:
        assert later.getsockname()[1] == port
    assert all(isinstance(one, Watch) for one in found)


@pytest.mark.parametrize(
    ("counts", "indices", "words"),
    [((2, 3), (0, 1), "was started with --processes=3"), ((3, 3, 3), (0, 1, 1), "two processes")],
)
def test_a_disagreement_is_told_to_all(counts, indices, words):
    address = ("127.0.0.1", free_port())
    pairs = zip(counts, indices)
    for one in together(*(lambda c=c, i=i: meet(address, c, i, 5) for c, i in pairs)):
        assert words in one


def test_strangers_at_the_port_are_sent_away():
    """A port scanner, a browser. Fails if one is taken for a process, or holds the others up."""
    address = ("127.0.0.1", free_port())

    def stranger():
        for text in (b"GET / HTTP/1.1\r\n\r\n", b"[1, 2]\n", b'{"index": "one"}\n', b""):
            for _ in range(50):
                try:
                    with socket.create_connection(address) as knock:
                        knock.sendall(text)
                    break
                except OSError:
                    time.sleep(0.02)

    def second():
        time.sleep(0.5)
        return meet(address, 2, 1, 10)

    first, other, _ = together(lambda: meet(address, 2, 0, 10), second, stranger)
    assert isinstance(first, Watch)
    assert isinstance(other, Watch)


def test_who_is_killed_is_named_by_all():
    """The kernel closes a dead process's connections. Fails if the others wait, or learn not which."""
    watches, ended = met()
    for peer in watches[1]._peers.values():  # as the kernel would
        watches[1]._over.set()
        peer._connection.shutdown(socket.SHUT_RDWR)
    assert wait_for(lambda: ended[0] and ended[2])
    assert ended[0] == ["process 1 is gone: it was killed, or its machine went down"]
    assert ended[2] == ended[0]


def test_who_stands_still_is_named_by_all():
    """It keeps its connections, and says nothing. Fails if only their end is looked for."""
    watches, ended = met(silent=0.5)
    watches[2]._over.set()  # says nothing more
    assert wait_for(lambda: ended[0] and ended[1])
    assert "process 2 has not been heard of for 0 s" in ended[0][0]
    assert ended[0] == ended[1]


def test_why_one_ends_is_told_to_all_and_a_good_end_to_nobody():
    watches, ended = met()
    watches[2].leave()
    time.sleep(0.3)
    assert ended == [[], [], []]
    watches[1].leave("has ended: no space left on device")
    assert wait_for(lambda: ended[0])
    assert ended == [["process 1 has ended: no space left on device"], [], []]


def test_the_first_ends_last():
    """jax's service ends with process 0. Fails if it leaves while another is still at work."""
    watches, ended = met()
    watches[1].leave()
    began = time.monotonic()
    threading.Timer(0.5, watches[2].leave).start()
    watches[0].leave()
    assert 0.4 < time.monotonic() - began < 2
    assert ended == [[], [], []]


def test_process_0_waits_until_the_other_has_said_why():
    """Fails if the other's answer to the news counts as its end: jax's service would end with process 0
    and the other with it, by a signal and without our line."""
    watches, ended = met(2)
    leaving = threading.Thread(target=watches[0].leave, args=("has ended: a full disk",))
    leaving.start()
    assert wait_for(lambda: ended[1] == ["process 0 has ended: a full disk"])
    assert leaving.is_alive()
    watches[1]._peers[0].close()
    leaving.join(1)
    assert not leaving.is_alive()
