"""The `billow` command, and the whole stack on one machine."""
