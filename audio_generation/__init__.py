"""Speech engines: a folder for each, each in its own worker process, all behind one contract.

This file imports nothing, so that a worker can load ``core.worker_protocol`` in an interpreter that has none of Hark's
dependencies.
"""
