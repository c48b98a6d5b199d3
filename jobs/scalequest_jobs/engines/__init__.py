"""Adapters to models: the only package that imports torch, transformers, trl or vllm.

Law: every foreign error is mapped here to an error of `ports`; each adapter passes the suites in
`tests/adapters`.
"""
