"""What people start: the command line, the launcher, measurements.

May use every other package. The only place that prints.
"""
