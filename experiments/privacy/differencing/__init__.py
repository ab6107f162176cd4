"""E6: do two correct sums, with and without a client, give that client's update?"""
