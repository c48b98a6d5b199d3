"""A whole run on one machine: the launcher without a cluster.

Law: the same orders, workers and commits as in pods; only processes take the place of Jobs.
"""
