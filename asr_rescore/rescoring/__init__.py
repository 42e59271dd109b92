"""A decode directory in, a rescored decode directory out."""
