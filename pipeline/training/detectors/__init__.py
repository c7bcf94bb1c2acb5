"""Detectors made from a run's clips: its own, those for devices and their teacher, and the next version of one."""
