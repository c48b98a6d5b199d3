"""The stages of the method, one file each, named as the stage with underscores.

Law: a stage declares itself, works on values and touches the world only through its context; no
heavy library.
"""
