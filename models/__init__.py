"""What is trained and on what: tasks, data, partitions, networks, local training.

Trusted with the plaintext data of whoever calls it, inside that one process.
Must never see a key, a ciphertext or a Flower message.
"""
