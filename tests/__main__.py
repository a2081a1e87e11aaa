"""Runs pytest in any environment: `.venvs/ENVIRONMENT/bin/python -m tests [pytest's options and paths]`.

An environment holds only what its image holds. pytest and its plugins are in .venvs/tests, which comes last on sys.path
so that they shadow none of the environment's packages. Processes that tests start cannot import them.
"""

import site
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / ".venvs" / "tests"

if __name__ == "__main__":
    site.addsitedir(str(TOOLS))
    import pytest

    sys.exit(pytest.main(sys.argv[1:]))
