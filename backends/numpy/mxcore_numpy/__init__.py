"""The CPU backend of mxcore: arrays are NumPy arrays, products go to its BLAS, special functions to SciPy."""
