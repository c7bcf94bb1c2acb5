"""Export, deletion and retention of all the data of an account."""
