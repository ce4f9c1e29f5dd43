"""The chart rendered by Helm itself, and checked as a cluster and its administrator would."""
