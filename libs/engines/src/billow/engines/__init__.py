"""Models: what they say of themselves (`catalog`, `manifest`), their `weights`, and what runs them (`load`)."""
