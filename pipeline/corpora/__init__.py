"""Real speech: corpora read into the library, aligned, and enrolment recordings."""
