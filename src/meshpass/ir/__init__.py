"""The waist: what a proxy has to do, in words of neither Kubernetes nor Envoy. Frozen values, no IO.

Left of it only ``translate`` makes these; right of it only ``envoy`` reads them.
"""

from meshpass.ir.ref import ObjectRef
from meshpass.ir.proxy import Proxy

__all__ = ["ObjectRef", "Proxy"]
