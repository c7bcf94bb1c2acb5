"""The command line's own parts: one module a group of subcommands, the options they share, and what people see."""
