"""Encrypted aggregation: integers in, ciphertexts out, only sums opened.

Trusted with every secret of the protocol; knows neither Flower nor torch.
Imports nothing here: a re-export would load the private-key modules everywhere.
"""
