"""recognized -> analyzed: what the words mean."""
