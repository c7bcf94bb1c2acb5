"""Logs, traces, figures and checks: for programs that watch the portal."""
