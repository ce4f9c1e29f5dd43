"""submitted -> recognized: what stands on every page, and where."""
