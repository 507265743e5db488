"""Fake services and sample sessions: the demo and every test stand on them. See ``server.Fakes``."""
