from __future__ import annotations

import pytest
from stack import Stack


@pytest.fixture(autouse=True)
def forgiven(stack: Stack) -> None:
    stack.forgive_address()
