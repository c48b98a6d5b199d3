"""The batch side of ScaleQuest: every stage of the method, runnable in a pod, on a laptop and in a test.

Law: nothing here imports scalequest_operator, and only `engines` reaches a GPU library.
"""

__version__ = "0.1.0"
