"""Real speech: corpora imported into the library, alignment, and enrolment recordings."""
