"""Trains large language models, distils them into small ones, and rescores Kaldi's lattices with either."""

__version__ = "0.2.0"
