"""From a keyphrase to the texts of positives and of every kind of negative. Text only, no audio."""
