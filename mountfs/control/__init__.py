"""The control socket: asking a running daemon things while its mount may hang.

``protocol``: one small versioned protocol, both ends. ``verbs``: what can be asked, on the same parts the mount uses.
``report``: what is shown of them. ``fetching``: a whole session into the cache. ``tasks``: what the daemon is doing.
"""

from mountfs.control.fetching import fetch_session
from mountfs.control.protocol import ControlError, ask, listen, socket_path
from mountfs.control.report import identity
from mountfs.control.tasks import describe
from mountfs.control.verbs import Mount, Verbs

__all__ = ["ControlError", "Mount", "Verbs", "ask", "describe", "fetch_session", "identity", "listen", "socket_path"]
