"""The operator: watches ScaleQuestRun resources and launches one Job per stage.

Law: nothing here reaches a GPU library; what crosses the pod boundary comes from `scalequest_jobs.contract`.
"""
