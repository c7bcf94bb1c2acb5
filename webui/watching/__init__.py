"""Monitoring: metrics and checks for programs."""
