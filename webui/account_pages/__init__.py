"""Pages of accounts; export, deletion and retention of all the data of an account."""
