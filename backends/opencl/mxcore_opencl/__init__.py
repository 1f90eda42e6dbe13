"""The OpenCL backend of mxcore. Nothing heavy is imported before a device is asked for."""
