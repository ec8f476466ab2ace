"""What several tests need: small tokenizers and rows, a hub on loopback, invented studies. Fixtures are in `conftest.py`."""

import pytest

pytest.register_assert_rewrite("support.figures", "support.hub")
