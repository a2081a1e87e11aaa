"""What one environment makes and another one's tests read: trained folders, ONNX files, a framework's own answers.

Each module here is a product: `make(folder)` fills an empty folder, in the environment that its ENVIRONMENT names. Make
calls `python -m tests.products NAME` there before the tests, again when the code has changed. Tests take
`product(NAME)`, a fixture of tests/conftest.py, and only read it.
"""

from tests.environments import REPOSITORY

PRODUCTS = REPOSITORY / ".tests" / "products"
