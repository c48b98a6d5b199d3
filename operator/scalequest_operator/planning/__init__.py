"""What the operator decides, and nothing else.

Law: no I/O, no clock, no client, no kopf. Time and everything observed are arguments; the same input gives the same plan.
"""
