"""The control socket: asking a running daemon things while its mount may hang.

``protocol``: one small versioned protocol, both ends. ``verbs``: what can be asked, on the same parts the mount uses.
"""

from mountfs.control.protocol import ControlError, ask, listen, socket_path
from mountfs.control.verbs import Mount, Verbs, fetch_session

__all__ = ["ControlError", "Mount", "Verbs", "ask", "fetch_session", "listen", "socket_path"]
