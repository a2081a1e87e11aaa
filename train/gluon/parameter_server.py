"""MXNet's parameter server and scheduler: `python -m train.gluon.parameter_server`, with DMLC_ROLE.

It ends when its standard input does, and so with the job that has started it, however that ends.
"""

import os
import sys
import threading


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import mxnet  # noqa: F401  with that role, importing it is running it
