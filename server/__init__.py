"""The aggregator: samples clients, adds ciphertexts, asks the committee to open sums.

Trusted to be there, not with secrets. Must never see a private key or share, one
client's update, its example count or its metrics.
"""
