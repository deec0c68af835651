"""The cases of conformance.py, against printers of the protocol octoprint."""

from conformance import *  # noqa: F403
from conformance import KINDS, printers

KIND = KINDS["octoprint"]
PRINTERS = printers(KIND)
