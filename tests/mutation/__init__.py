"""The mutation run: break one thing in the core at a time, and see whether a test notices."""
