"""Fused loops: scalar expressions run over tiles of memory by NumPy's ufuncs.

In the order in which a loop goes through them: ``lower.py`` turns its expressions into instructions, ``registers.py``
orders them, gives each result a place and makes one Python function of them, ``space.py`` finds the fewest dimensions and
cuts tiles, ``loop.py`` runs the function over the tiles in threads.
"""
