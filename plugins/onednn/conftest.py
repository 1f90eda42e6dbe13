"""Examples that need oneDNN are left out where it is not, or where the machine cannot do what they show."""

from mxcore_onednn.library import missing
from mxcore_onednn.quantized import available

collect_ignore = [] if not missing() and available() else ["mxcore_onednn/quantized.py"]
