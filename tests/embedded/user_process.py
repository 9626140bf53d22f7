"""A process that uses the server of a folder: prints where it is, and holds it until its input ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pqclock.embedded import start
from pqclock.errors import EmbeddedServerError

if __name__ == "__main__":
    try:
        with start(Path(sys.argv[1]), durable=False) as server:
            print(json.dumps({"url": server.url}), flush=True)
            sys.stdin.read()
    except EmbeddedServerError as error:
        print(json.dumps({"error": str(error)}), flush=True)
