"""Messages between processes arrive whole, or not at all."""

from __future__ import annotations

import pickle
import socket
import threading

from esgvzarr.messages import receive, send


def test_messages_arrive_one_by_one_and_none_after_the_end() -> None:
    ours, theirs = socket.socketpair()
    large = bytes(3 * 2**20)  # more than a socket holds
    with ours, theirs:
        sending = threading.Thread(target=lambda: [send(theirs, one) for one in ("a", large)])
        sending.start()
        assert (receive(ours), receive(ours)) == ("a", large)
        sending.join()
        theirs.close()
        assert receive(ours) is None


def test_a_message_that_is_cut_short_is_none() -> None:
    ours, theirs = socket.socketpair()
    body = pickle.dumps("a message")
    with ours, theirs:
        theirs.sendall(len(body).to_bytes(8, "little") + body[:-1])
        theirs.close()
        assert receive(ours) is None
