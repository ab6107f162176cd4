"""One participant: trains on its own shard, seals what leaves, decides what it opens.

Trusted with its shard, its identity and, as a key holder, one share of the key.
Must never see another client's update, and takes no setting of its privacy from
the server.
"""
