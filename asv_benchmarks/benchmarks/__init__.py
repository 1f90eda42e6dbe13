"""Benchmarks of mxcore; ``python3 dev.py bench`` runs them (``--quick`` each once, ``-b NAME`` some)."""
