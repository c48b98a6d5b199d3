"""Adapters to object stores, all passing one conformance suite.

Law: every foreign error is mapped here to an error of `ports`.
"""
