"""A file that no other process survives reading."""

import os
import signal
from pathlib import Path


class DeadlyFile(type(Path())):
    """Kills any process that looks for it but the one that the environment names."""

    def is_file(self):
        if os.environ.get("SURVIVOR") != str(os.getpid()):
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    def stat(self):
        return os.stat(__file__)
