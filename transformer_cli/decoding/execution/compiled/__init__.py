"""Search of the Transformer in functions that numba compiles: no interpreter, and no interpreter lock, between the
operations of a step. `support` says what they can do; other modules are imported only where numba is installed."""
