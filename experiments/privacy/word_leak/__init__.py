"""E1: the parts of `experiments.word_leak`."""
