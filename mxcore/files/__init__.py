"""File formats of arrays and optimizer states, readable with NumPy alone: no backend, no MXNet.

``params`` (MXNet's ``.params``), ``safetensors_file``, ``arrays`` (picks one of the two by suffix), ``pickles``
(MXNet's state files, read without running code from them), ``idx`` (MNIST's files), ``atomic`` (whole files or none).
"""
