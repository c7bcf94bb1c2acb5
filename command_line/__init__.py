"""The command line: a module for each group of subcommands, shared options, and output for users and programs."""
