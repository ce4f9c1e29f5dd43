"""Hosts one model: pulls its work, batches it, answers. Starting it plugs the model in, stopping it plugs it out."""
