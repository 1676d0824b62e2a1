"""Retrievers: each proposes products for a history, one way per file. None keeps anything of a customer."""
