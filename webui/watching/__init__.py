"""Monitoring: logs, traces, metrics and checks for programs."""
