"""Data sets of the tasks: where they come from, their checks, how they are split.

For the launcher only: a client process opens one shard and nothing else.
"""
