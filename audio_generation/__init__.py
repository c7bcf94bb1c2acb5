"""Speech engines: one folder an engine, each in a worker process of its own, all behind one contract.

This file imports nothing, so that a worker can load ``core.worker_protocol`` in an interpreter that has
none of Hark's dependencies.
"""
