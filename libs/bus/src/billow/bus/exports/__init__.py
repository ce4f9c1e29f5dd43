"""What others need to know about the topology, made from the one declaration."""
