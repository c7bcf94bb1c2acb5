"""The command line's own parts: drawing events, the subcommands."""
