"""The cases of conformance.py, against printers of the protocol moonraker."""

from conformance import *  # noqa: F403
from conformance import KINDS, printers

KIND = KINDS["moonraker"]
PRINTERS = printers(KIND)
