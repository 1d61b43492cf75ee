"""codegen: a PROGRAM in, readable source and a callable out.

``codegen.program`` is the contract. Nothing here knows of networks, gradients or SymPy.
"""

from time import time_ns

STARTED = time_ns()
"""Nanoseconds: before anything of codegen and symprop was loaded."""

CONTRACT = "symprop.codegen"
"""What symprop checks at import, since other packages may be called codegen too."""
