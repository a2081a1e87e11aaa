"""`.venvs/ENVIRONMENT/bin/python -m tests [pytest's options and paths]`: pytest in any environment.

pytest and its plugins are not part of an environment: it holds what the image holds. They are packages in .venvs/tests,
found after the environment's own, so that they shadow none of them; a process that a test starts does not find them.
"""

import site
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / ".venvs" / "tests"

if __name__ == "__main__":
    site.addsitedir(str(TOOLS))
    import pytest

    sys.exit(pytest.main(sys.argv[1:]))
