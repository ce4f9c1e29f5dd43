"""What runs models. Each module imports its framework, so import only the one that is used."""
