"""Columns by real servers: how they arrive, and what Arrow's libraries make of them."""
