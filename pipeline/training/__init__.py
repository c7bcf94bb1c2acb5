"""A keyphrase to a bundle: plan, mine, speak, train or calibrate, measure, pack."""
