"""What a published dataset consists of: files, card, funnel, lineage; and how it is checked.

Law: no heavy library; `card` and `files` are pure but for the files they write.
"""
