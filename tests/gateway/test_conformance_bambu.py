"""The cases of conformance.py, against printers of the protocol bambu."""

from conformance import *  # noqa: F403
from conformance import KINDS, printers

KIND = KINDS["bambu"]
PRINTERS = printers(KIND)
