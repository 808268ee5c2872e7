"""Coverage-guided fuzzing of everything that reads bytes or text from outside; see `__main__`."""
