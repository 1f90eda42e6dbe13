"""oneDNN kernels for the NumPy backend of mxcore, through the C API of ``libdnnl.so.3``."""
