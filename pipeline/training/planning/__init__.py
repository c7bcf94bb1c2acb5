"""Before anything is made: a run's choices, advice on the phrase, the clips and voices that it will use."""
