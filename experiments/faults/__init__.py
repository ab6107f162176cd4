"""Faults done on purpose to real runs, and what must hold after each: `make faults`."""
