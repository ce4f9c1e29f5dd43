"""History sent again under a run: chosen, paced, compared with the record, and made official if that is wanted."""
