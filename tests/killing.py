"""A reader that does not survive a file, for processes of their own to call."""

import os
import signal


def read_or_die(file, dies):
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return "read"
