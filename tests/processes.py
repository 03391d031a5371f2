"""How an object reaches a process that was not forked."""

import pickle
from typing import Any


def received(sent: bytes) -> Any:
    """What such a process makes of an object that ``pickle.dumps`` has turned into ``sent``.

    Worker processes of a DataLoader get their data set so. Nothing read from a file is ever unpickled: ``sent`` are
    bytes that the calling test has made itself.
    """
    return pickle.loads(sent)  # safe: the test's own bytes, see above
