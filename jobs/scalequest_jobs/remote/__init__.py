"""Runs on a cluster, as the person who applies them sees them.

Law: only `kubernetes_api` knows the Kubernetes client; everything else works on `api.RunApi`. Nothing here is an
operator: a run is created, looked at and edited as `kubectl` would, and the operator does the work.
"""
