"""Stress tests of a portal: killed processes, damaged files, many users."""
