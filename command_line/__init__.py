"""The command line: one module per group of subcommands, shared options, and output on the screen."""
