"""codegen: a PROGRAM in, readable source and a callable out.

``codegen.program`` is the contract. Nothing here knows of networks, gradients or SymPy.
"""

CONTRACT = "symprop.codegen"
"""What symprop checks at import, since other packages may be called codegen too."""
