"""From bytes to pages, and from pages to what the OCR models eat and back. No I/O, no model."""
