"""Speech engines: each has its own folder and worker process, and all share one interface.

This file imports nothing, so that a worker can load ``core.worker_protocol`` in an interpreter that has none of Hark's
dependencies.
"""
