"""A tiny world of word problems in which a program knows the truth."""
