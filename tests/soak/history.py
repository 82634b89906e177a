# SPDX-License-Identifier: Apache-2.0
"""A history: one JSON object a line, `e` says what happened and `t` when, in
seconds of the machine's monotonic clock.  Several programs write one each."""
import json
import threading
import time


class Writer:
    """May be used from several threads."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8")
        self.lock = threading.Lock()

    def write(self, event, **values):
        line = json.dumps({"e": event, "t": round(time.monotonic(), 4),
                           **values})
        with self.lock:
            self.file.write(line + "\n")
            self.file.flush()

    def close(self):
        self.file.close()


def read(paths):
    """All events of some histories, in the order of their times."""
    out = []
    for path in paths:
        with open(path, encoding="utf-8") as f:
            out += [json.loads(line) for line in f]
    return sorted(out, key=lambda event: event["t"])
