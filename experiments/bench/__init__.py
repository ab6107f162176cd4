"""`make bench`: what the cryptography costs, beside others in the same run.

`scene` and `hybrid_scene` prepare what is timed, `hybrid`, `others` and `checks` time
it, `end_to_end` runs whole federations; `python -m experiments.bench` prints tables.
"""
