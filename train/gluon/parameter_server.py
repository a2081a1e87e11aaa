"""Run MXNet's parameter server or scheduler, depending on DMLC_ROLE: `python -m train.gluon.parameter_server`.

The process exits when its standard input is closed, so it ends with the job that started it, even if the job is killed.
"""

import os
import sys
import threading


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import mxnet  # noqa: F401  with this role, the import runs the server
