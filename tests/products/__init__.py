"""Files that one environment makes for the tests of another: model folders, ONNX files, and a framework's results.

Each module is a product. Its `make(folder)` fills an empty folder in the environment ENVIRONMENT. Make runs
`python -m tests.products NAME` in that environment before the tests, and again when the code has changed. Tests use the
fixture `product(NAME)` of tests/conftest.py and only read the folder.
"""

from tests.environments import REPOSITORY

PRODUCTS = REPOSITORY / ".tests" / "products"
