"""Features of customers, one family per file: each maps what was known to one row per customer."""
