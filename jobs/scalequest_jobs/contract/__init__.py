"""Everything that crosses the pod boundary: spec, graph, keys, tables, fingerprints, exit codes.

Law: standard library, pydantic, pyarrow and `ports` only; the operator imports it too.
"""
