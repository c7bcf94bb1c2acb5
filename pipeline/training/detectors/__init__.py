"""Making detectors of a run's clips: its own, those for devices and their teacher, the next version of one."""
