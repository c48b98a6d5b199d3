"""Question generators: the text format they are trained and prompted in, sampling, training.

Law: no heavy library; models are reached through `ports`.
"""
