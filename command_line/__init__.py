"""The command line: a module for each group of subcommands, their shared options, and output on the screen."""
