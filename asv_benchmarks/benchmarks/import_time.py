"""Start-up, measured in a fresh process each time."""


class Import:
    """``import mxcore``, and what it comes to beside NumPy's own import."""

    def timeraw_import_numpy(self):
        return "import numpy"

    def timeraw_import(self):
        return "import mxcore"

    def timeraw_import_gluon(self):
        return "import mxcore.gluon"

    def timeraw_first_operator(self):
        return "import mxcore as mx; mx.nd.ones((2, 2)).asnumpy()"
