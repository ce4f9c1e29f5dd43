"""What is declared against what the server has: looked at, shown, and made so."""
