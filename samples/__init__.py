"""Receipts and invoices that look real, with their truth. Every name, number and address in them is made up."""
