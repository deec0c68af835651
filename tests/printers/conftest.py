"""The virtual fleet's own tests need nothing of the product."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
