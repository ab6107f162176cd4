"""What the privacy experiments share: the round they attack, the numbers, the page.

The experiments themselves are scripts beside this folder, one file each:
`python -m experiments.word_leak` and so on; `make experiments` runs all of them.
"""
