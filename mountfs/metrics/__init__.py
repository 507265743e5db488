"""Floor 6: figures for Prometheus, on a loopback port or a unix socket (``[metrics] listen``).

``collector``: what is told, made from the parts' own statistics when somebody asks. ``serving``: who asks, and how.
``prometheus_client`` is an extra: only ``collector`` imports it, and only a daemon that serves metrics imports that.
"""

from mountfs.metrics.figures import Figures
from mountfs.metrics.serving import serving

__all__ = ["Figures", "serving"]
