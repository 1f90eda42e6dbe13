"""mxcore-native: fused loops compiled with the C compiler of the system."""
