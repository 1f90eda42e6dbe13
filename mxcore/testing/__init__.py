"""Shipped with mxcore, for authors of operators and backends.

``samples`` holds calls of every operator, ``checks`` judges an operator by its samples (forward, gradients to order 2,
symbol = eager, inference = actual, JSON round trip), ``conformance`` judges a backend, ``loopback`` is a backend that
proves that nothing leans on NumPy.
"""
