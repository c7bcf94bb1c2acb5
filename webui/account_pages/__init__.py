"""Pages of accounts, and what they do with all the data of an account: export, delete, clear out."""
