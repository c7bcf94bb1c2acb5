"""A run from a keyphrase to a bundle: plan, mine, synthesize, train or calibrate, measure, pack."""
