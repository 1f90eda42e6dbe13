"""The CUDA backend of mxcore, on CuPy. Nothing heavy is imported before a device is asked for."""
