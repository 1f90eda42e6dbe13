"""Recurrent networks over whole sequences, forward and backward.

``network.py`` puts layers together and makes bound calls and eager kernels of them; what computes a layer is its
:class:`~mxcore_numpy.recurrent.network.Engine`, of which a plugin may bring a faster one. ``cells.py`` is NumPy's: one
layer in one direction, for each kind of cell.
"""
