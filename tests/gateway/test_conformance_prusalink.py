"""The cases of conformance.py, against printers of the protocol prusalink."""

from conformance import *  # noqa: F403
from conformance import KINDS, printers

KIND = KINDS["prusalink"]
PRINTERS = printers(KIND)
