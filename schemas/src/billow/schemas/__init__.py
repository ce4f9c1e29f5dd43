"""The contract between all parts: what is said, under which subject, and in which bytes."""
