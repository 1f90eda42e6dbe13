"""The one graph: tape and Symbol are made of the same nodes. Knows operators, never arrays."""
