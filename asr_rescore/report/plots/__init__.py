"""Plots as SVG for the page of a report, and as pictures in files."""
