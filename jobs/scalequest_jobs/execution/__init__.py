"""How a stage is carried out: reading artifacts, working in chunks, committing, reporting.

Law: no heavy library; the world is reached through `ports` only.
"""
